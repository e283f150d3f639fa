/* The worker passes the true size of a page; it differs on arm64. */
#ifndef PAGE_SIZE
#define PAGE_SIZE 4096
#endif
