; The smallest program: what tools/demo boots where no Linux can be had, and what shows that test.inc itself works.
        %include "test.inc"
        program "hello"
main:   say "Hello from a guest program of Ferry's."
        mov eax, 2
        add eax, 3
        is eax, 5, "2 + 3"
        raises UD, 0, "UD2 in 32-bit mode", ud2
        user_raises USER_END, 0, "user code and back", .user
        long_mode
        raises UD, 0, "UD2 in 64-bit mode", ud2
        user_raises USER_END, 0, "64-bit user code and back", .user64
        done
        bits 32
.user:  int USER_END
        bits 64
.user64: int USER_END
