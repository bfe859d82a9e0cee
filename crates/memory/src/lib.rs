//! Guest RAM, the page walk and the softmmu TLB.
