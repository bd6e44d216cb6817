"""MIDI to piano audio, block by block, by diffusion with a recurrent state.

Glossary, used for names throughout the package:

==========  ====================================================================
rate        audio sample rate in Hz
block       samples produced by one call of the synthesizer (512 to 4096)
frame       samples between two gain values (a block holds block / frame frames);
            for the U-Net one of the 5 spectra of a block
b, l, d     batch, sequence length in frames, model width
n           width of the S6 state per channel
c           width of the condition vector of one frame
k           values in one frame: gains of bands; for the U-Net bins of a spectrum
p           partials of the modal excitation
x, x_t      clean and noisy data of the diffusion process (normalised gains or spectra)
sigma       noise level in 0..1; alpha = cos(pi sigma / 2), beta = sin(pi sigma / 2)
v           the target of v-diffusion, alpha * noise - beta * x
==========  ====================================================================
"""

__version__ = "0.1.0"
