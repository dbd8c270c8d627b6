"""C compiled for this machine and for a Cortex-M4, and run on an emulated one: answers, instructions, cycles, memory.

A program and what it costs:

    from pathlib import Path

    from experiments.device.binary import sections
    from experiments.device.emulator import Program
    from experiments.device.toolchain import device_program

    source = '''
    #include <stdint.h>
    volatile int32_t scenelet_measured;  /* what is counted from here on: any small integer */
    int8_t values[4];
    int32_t total(int32_t times);
    int32_t total(int32_t times)
    {
        int32_t sum = 0, k;
        scenelet_measured = 1;
        for (k = 0; k < 4; k++) {
            sum += times * values[k];
        }
        scenelet_measured = 0;
        return sum;
    }
    '''
    elf = device_program({"total.c": source}, Path(), keep=["total", "values"])
    program = Program(elf)
    program.write("values", bytes([1, 2, 3, 4]))
    assert program.call("total", 5) == 50
    print(program.counts[1].instructions, program.counts[1].cycles, program.counts[1].seconds(80e6))
    print(program.stack)  # bytes that calls have used so far
    print(program.functions())  # counts by function, of those that were not inlined
    print(sections(elf))  # bytes of code, constants, data and bss

`keep` names the functions that are called from outside; what neither they nor `main` need is left out of the file.
"""
