/* raw FRAMES FILE: the floor under a commit. Writes the frames that FRAMES holds to FILE, each with a write and an
 * fdatasync of its own, and prints the seconds that took. The first frame is not timed: it makes the file. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void need(int holds, const char *what) {
    if (!holds) {
        perror(what);
        exit(1);
    }
}

static size_t frame_size(const unsigned char *frame) {
    return 4 + (frame[0] | (size_t)frame[1] << 8 | (size_t)frame[2] << 16 | (size_t)frame[3] << 24) + 4;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void append(int fd, const unsigned char *frame, size_t size) {
    need(write(fd, frame, size) == (ssize_t)size, "write");
    need(fdatasync(fd) == 0, "fdatasync");
}

int main(int argc, char **argv) {
    need(argc == 3, "raw FRAMES FILE");
    int source = open(argv[1], O_RDONLY);
    struct stat status;
    need(source >= 0 && fstat(source, &status) == 0, argv[1]);
    unsigned char *frames = malloc((size_t)status.st_size);
    need(frames && read(source, frames, (size_t)status.st_size) == status.st_size, "read");

    int fd = open(argv[2], O_WRONLY | O_CREAT | O_EXCL, 0666);
    need(fd >= 0, argv[2]);
    const unsigned char *frame = frames, *end = frames + status.st_size;
    append(fd, frame, frame_size(frame));
    frame += frame_size(frame);
    double begin = now();
    for (size_t size; frame < end; frame += size) {
        size = frame_size(frame);
        append(fd, frame, size);
    }
    printf("%.9f\n", now() - begin);
    return 0;
}
