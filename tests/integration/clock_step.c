/* Preloaded, it adds the seconds that the file $CLOCK_STEP holds to the system clock; no other clock is touched. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    const char *path = getenv("CLOCK_STEP");
    FILE *file = !failed && clock == CLOCK_REALTIME && path ? fopen(path, "r") : NULL;
    if (file) {
        double seconds = 0;
        if (fscanf(file, "%lf", &seconds) == 1) {
            long long ns = now->tv_sec * 1000000000LL + now->tv_nsec + (long long)(seconds * 1e9);
            now->tv_sec = ns / 1000000000LL;
            now->tv_nsec = ns % 1000000000LL;
        }
        fclose(file);
    }
    return failed;
}
