/* bcc sizes ring buffers with this one. */
#define roundup_pow_of_two(n) ((n) <= 1 ? 1ULL : 1ULL << (64 - __builtin_clzll((n) - 1)))
