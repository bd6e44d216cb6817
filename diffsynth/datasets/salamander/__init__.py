"""The Salamander Grand Piano, version 3, as an SFZ: its packages, its samples, its mapping.

Alexander Holm recorded a Yamaha C5 with two microphones above the strings: 30 keys in 16 layers, 88 noises
of keys that are released, string resonances in three layers, four noises of the pedal. Packages of the npm
registry hold these samples, as OGG and MP3, without an SFZ.
"""
