//! What tests share: the host's own CPU as oracle, vector readers, guest programs. Dev only.
