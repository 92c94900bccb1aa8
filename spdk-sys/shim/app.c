/* SPDX-License-Identifier: BSD-3-Clause */
/* The program around the module: SPDK's application framework with the options that spdk_tgt has. */

#include "shim.h"
#include "spdk/event.h"

static const char *g_pid_file;

static void
usage(void)
{
	printf(" -f <file>                 pidfile save pid to file under given path\n");
}

static int
parse_option(int option, char *value)
{
	if (option != 'f') {
		return -EINVAL;
	}
	g_pid_file = value;
	return 0;
}

static void
started(void *arg)
{
	FILE *file;

	if (g_pid_file == NULL) {
		return;
	}
	file = fopen(g_pid_file, "w");
	if (file == NULL || fprintf(file, "%d\n", getpid()) < 0 || fclose(file) != 0) {
		fprintf(stderr, "pid file '%s': %s\n", g_pid_file, strerror(errno));
		spdk_app_stop(-1);
	}
}

int
mirror_shim_target_main(int argc, char **argv)
{
	struct spdk_app_opts opts = {};
	int rc;

#if MIRROR_SHIM_2409
	spdk_app_opts_init(&opts, sizeof(opts));
#else
	spdk_app_opts_init(&opts);
#endif
	opts.name = "spdk_tgt";
	rc = spdk_app_parse_args(argc, argv, &opts, "f:", NULL, parse_option, usage);
	if (rc != SPDK_APP_PARSE_ARGS_SUCCESS) {
		return rc == SPDK_APP_PARSE_ARGS_HELP ? 0 : 1;
	}
	rc = spdk_app_start(&opts, started, NULL);
	spdk_app_fini();
	return rc == 0 ? 0 : 1;
}
