/*
 * Lets SPDK's bdevio, which insists on three cores, run on two: the choice of cores that SPDK hands to DPDK (-c MASK in
 * 20.07, -l LIST in newer releases) becomes three logical cores, two of them on the first processor.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>

int
rte_eal_init(int argc, char **argv)
{
	static char lcores[] = "--lcores=0@0,1@1,2@0";
	int (*real)(int, char **) = (int (*)(int, char **))dlsym(RTLD_NEXT, "rte_eal_init");

	for (int i = 1; i < argc; i++) {
		if (strncmp(argv[i], "-c ", 3) == 0 || strncmp(argv[i], "-l ", 3) == 0) {
			argv[i] = lcores;
		}
	}
	return real ? real(argc, argv) : -1;
}
