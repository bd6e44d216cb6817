"""MIDI to piano audio, block by block, by diffusion with a recurrent state.

Words (strike, partial, mode, excitation, gain field, voice, take, ...) are explained in docs/glossary.md,
equations in docs/method.md, the folders in docs/architecture.md. Letters, used for shapes and symbols
throughout the package:

==========  ====================================================================
rate        audio sample rate in Hz
block       samples produced by one call of the synthesizer (512 to 4096)
frame       samples between two gain values; a block holds block / frame of them;
            for the U-Net one of the 5 spectra of a block
b, l, d     batch, sequence length in frames, model width
n           width of the S6 state per channel
c           width of the condition vector of one frame
k           values in one frame: gains of bands; for the U-Net bins of a spectrum
p           modes of the excitation
x, x_t      clean and noisy data of the diffusion process (normalised gains or spectra)
sigma       noise level in 0..1; alpha = cos(pi sigma / 2), beta = sin(pi sigma / 2)
v           the target of v-diffusion, alpha * noise - beta * x
==========  ====================================================================
"""

__version__ = "0.1.0"
