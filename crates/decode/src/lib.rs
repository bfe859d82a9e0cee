//! The instruction decoder: iced-x86 behind one door.
