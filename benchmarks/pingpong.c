/* Two processes on one CPU pass a byte to and fro: two switches and two wake-ups a round. */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int main(int count, char **words)
{
    long rounds = count > 1 ? atol(words[1]) : 100000;
    int there[2], back[2];
    cpu_set_t cpus;
    struct timespec begin, end;
    char byte = 0;

    CPU_ZERO(&cpus);
    CPU_SET(0, &cpus);
    if (sched_setaffinity(0, sizeof(cpus), &cpus) || pipe(there) || pipe(back))
        return 1;
    if (fork() == 0) {
        while (read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1 && byte)
            ;
        return 0;
    }
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (long round = rounds; round >= 0; round--) {
        byte = round > 0;
        if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
            return 1;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%.0f\n", ((end.tv_sec - begin.tv_sec) * 1e9 + end.tv_nsec - begin.tv_nsec) / rounds);
    return 0;
}
