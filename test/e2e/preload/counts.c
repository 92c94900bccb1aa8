/*
 * A call for tests, preloaded into an SPDK application (20.07 and later):
 *
 *   test_counts {}   what is held: {bdevs: [{name, open, claimed_by, limits}], bdev_io_free, heap_bytes,
 *                    dma_bytes}. The limits of a bdev are what the bdev layer splits and aligns its I/O by.
 *
 * It runs on the thread that serves RPC.
 */
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

#include "spdk/bdev.h"
#include "spdk/bdev_module.h"
#include "spdk/env.h"
#include "spdk/json.h"
#include "spdk/jsonrpc.h"
#include "spdk/rpc.h"
#include "spdk/version.h"

#include <rte_malloc.h>

static const char *
claimed_by(struct spdk_bdev *bdev)
{
#if SPDK_VERSION_MAJOR < 23
	return bdev->internal.claim_module ? bdev->internal.claim_module->name : NULL;
#else
	switch (bdev->internal.claim_type) {
	case SPDK_BDEV_CLAIM_NONE:
		return NULL;
	case SPDK_BDEV_CLAIM_EXCL_WRITE:
		return bdev->internal.claim.v1.module->name;
	default:
		return "a shared claim";
	}
#endif
}

static void
write_limits(struct spdk_json_write_ctx *w, struct spdk_bdev *bdev)
{
	spdk_json_write_named_object_begin(w, "limits");
	spdk_json_write_named_uint32(w, "required_alignment", bdev->required_alignment);
	spdk_json_write_named_uint32(w, "optimal_io_boundary", bdev->optimal_io_boundary);
	spdk_json_write_named_uint32(w, "acwu", bdev->acwu);
	spdk_json_write_named_bool(w, "write_cache", bdev->write_cache);
#if SPDK_VERSION_MAJOR > 20
	spdk_json_write_named_uint32(w, "phys_blocklen", bdev->phys_blocklen);
#endif
	spdk_json_write_object_end(w);
}

static void
write_bdev(struct spdk_json_write_ctx *w, struct spdk_bdev *bdev)
{
	const char *claimer = claimed_by(bdev);

	spdk_json_write_object_begin(w);
	spdk_json_write_named_string(w, "name", spdk_bdev_get_name(bdev));
	spdk_json_write_named_bool(w, "open", !TAILQ_EMPTY(&bdev->internal.open_descs));
	if (claimer) {
		spdk_json_write_named_string(w, "claimed_by", claimer);
	} else {
		spdk_json_write_named_null(w, "claimed_by");
	}
	write_limits(w, bdev);
	spdk_json_write_object_end(w);
}

static void
rpc_test_counts(struct spdk_jsonrpc_request *request, const struct spdk_json_val *params)
{
	char name[32];
	struct spdk_mempool *pool;
	struct rte_malloc_socket_stats dma = {0};
	struct spdk_json_write_ctx *w;
	struct spdk_bdev *bdev;

	(void)params;
	snprintf(name, sizeof(name), "bdev_io_%d", getpid());
	pool = spdk_mempool_lookup(name);
	rte_malloc_get_socket_stats(0, &dma);

	w = spdk_jsonrpc_begin_result(request);
	spdk_json_write_object_begin(w);
	spdk_json_write_named_array_begin(w, "bdevs");
	for (bdev = spdk_bdev_first(); bdev; bdev = spdk_bdev_next(bdev)) {
		write_bdev(w, bdev);
	}
	spdk_json_write_array_end(w);
	spdk_json_write_named_uint64(w, "bdev_io_free", pool ? spdk_mempool_count(pool) : 0);
	spdk_json_write_named_uint64(w, "heap_bytes", mallinfo2().uordblks);
	spdk_json_write_named_uint64(w, "dma_bytes", dma.heap_allocsz_bytes);
	spdk_json_write_object_end(w);
	spdk_jsonrpc_end_result(request, w);
}
SPDK_RPC_REGISTER("test_counts", rpc_test_counts, SPDK_RPC_RUNTIME)
