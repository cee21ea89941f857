# SPDX-FileCopyrightText: 2026 The msocket authors
# SPDX-License-Identifier: MIT
"""What all pictures are drawn with."""

# Told apart by people who see few colours too (Okabe and Ito), and by their lightness.
COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c6d31", "#5f5f9f"]
INK, FAINT, PAPER = "#22262b", "#d9dde2", "#ffffff"
