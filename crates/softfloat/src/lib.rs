//! IEEE 754 and x87 arithmetic in software, exact to the bit.
