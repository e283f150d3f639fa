/* What bcc's own headers ask of a kernel's configuration. */
#define CONFIG_BPF_SYSCALL 1
