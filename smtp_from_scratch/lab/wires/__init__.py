"""The wires: real sockets on loopback. A peer that nobody here wrote, slow lines, taps, attackers."""
