/* SPDX-License-Identifier: BSD-3-Clause */
/* The module, its bdevs and what it asks of other modules' bdevs. */

#include "shim.h"
#include "spdk/util.h"

/* The releases this shim was written against; another one has to be read before it is trusted. */
SPDK_STATIC_ASSERT(SPDK_VERSION >= SPDK_VERSION_NUM(20, 7, 0), "SPDK before 20.07 lacks what the shim uses");
#if SPDK_VERSION_MAJOR == 20 && SPDK_VERSION_MINOR == 7
SPDK_STATIC_ASSERT(sizeof(struct spdk_bdev) == 448, "spdk_bdev of 20.07");
SPDK_STATIC_ASSERT(sizeof(struct spdk_bdev_io) == 872, "spdk_bdev_io of 20.07");
SPDK_STATIC_ASSERT(sizeof(struct spdk_bdev_module) == 112, "spdk_bdev_module of 20.07");
SPDK_STATIC_ASSERT(sizeof(struct spdk_bdev_fn_table) == 56, "spdk_bdev_fn_table of 20.07");
#elif SPDK_VERSION_MAJOR == 26 && SPDK_VERSION_MINOR == 5
SPDK_STATIC_ASSERT(sizeof(struct spdk_bdev) == 576, "spdk_bdev of 26.05");
SPDK_STATIC_ASSERT(sizeof(struct spdk_bdev_io) == 1216, "spdk_bdev_io of 26.05");
SPDK_STATIC_ASSERT(sizeof(struct spdk_bdev_module) == 152, "spdk_bdev_module of 26.05");
SPDK_STATIC_ASSERT(sizeof(struct spdk_bdev_fn_table) == 104, "spdk_bdev_fn_table of 26.05");
#endif
SPDK_STATIC_ASSERT(sizeof(((struct spdk_bdev_io *)0)->type) == 1, "Rust reads the type as one byte");
SPDK_STATIC_ASSERT(offsetof(struct spdk_bdev_io, driver_ctx) % 8 == 0, "Rust keeps pointers in the context");
SPDK_STATIC_ASSERT(MIRROR_SHIM_CHANNEL_CTX_OFFSET % 8 == 0, "Rust keeps pointers in the channel's context");

static struct spdk_bdev_module g_module;

void
mirror_shim_module_register(const struct mirror_shim_module_ops *ops)
{
	g_module.name = ops->name;
	g_module.module_init = ops->init;
	g_module.module_fini = ops->fini;
	g_module.config_json = ops->config_json;
	g_module.get_ctx_size = ops->io_ctx_size;
	spdk_bdev_module_list_add(&g_module);
}

void
mirror_shim_bdev_view(const struct spdk_bdev *bdev, struct mirror_shim_bdev_view *view)
{
	memset(view, 0, sizeof(*view));
	view->module = bdev->module != NULL ? bdev->module->name : "";
	memcpy(view->uuid, &bdev->uuid, sizeof(view->uuid));
	view->blockcnt = bdev->blockcnt;
	view->blocklen = bdev->blocklen;
	view->md_len = bdev->md_len;
	view->dif_type = bdev->dif_type;
#if MIRROR_SHIM_2409
	view->dif_pi_format = bdev->dif_pi_format;
#endif
	view->write_unit_size = bdev->write_unit_size;
	view->md_interleave = bdev->md_interleave;
	view->dif_is_head_of_md = bdev->dif_is_head_of_md;
	view->write_cache = bdev->write_cache;
	view->zoned = bdev->zoned;
#if MIRROR_SHIM_2409
	view->split_on_write_unit = bdev->split_on_write_unit;
#endif
}

struct spdk_bdev *
mirror_shim_bdev_new(const char *name, const uint8_t uuid[16], void *ctx, uint64_t blockcnt,
		     const struct mirror_shim_bdev_ops *ops, const struct spdk_bdev *first_leg)
{
	/* One allocation, so that one free() ends it: bdev, then its function table, then its name. */
	struct owned {
		struct spdk_bdev bdev;
		struct spdk_bdev_fn_table table;
		char name[];
	} *owned = calloc(1, sizeof(*owned) + strlen(name) + 1);

	if (owned == NULL) {
		return NULL;
	}
	strcpy(owned->name, name);
	owned->table.destruct = ops->destruct;
	owned->table.submit_request = ops->submit_request;
	owned->table.io_type_supported = ops->io_type_supported;
	owned->table.get_io_channel = ops->get_io_channel;
	owned->table.dump_info_json = ops->dump_info_json;
	owned->table.write_config_json = ops->write_config_json;

	struct spdk_bdev *bdev = &owned->bdev;

	bdev->name = owned->name;
	bdev->product_name = (char *)"mirror";
	memcpy(&bdev->uuid, uuid, sizeof(bdev->uuid));
	bdev->ctxt = ctx;
	bdev->module = &g_module;
	bdev->fn_table = &owned->table;
	bdev->blockcnt = blockcnt;
	bdev->blocklen = first_leg->blocklen;
	bdev->md_len = first_leg->md_len;
	bdev->md_interleave = first_leg->md_interleave;
	bdev->dif_type = first_leg->dif_type;
	bdev->dif_is_head_of_md = first_leg->dif_is_head_of_md;
	bdev->dif_check_flags = first_leg->dif_check_flags;
#if MIRROR_SHIM_2409
	bdev->dif_pi_format = first_leg->dif_pi_format;
#endif
	bdev->write_unit_size = first_leg->write_unit_size;
	bdev->acwu = first_leg->acwu;
	bdev->optimal_io_boundary = first_leg->optimal_io_boundary;
	bdev->split_on_optimal_io_boundary = first_leg->split_on_optimal_io_boundary;
#if MIRROR_SHIM_2409
	bdev->phys_blocklen = first_leg->phys_blocklen;
	bdev->max_segment_size = first_leg->max_segment_size;
	bdev->max_num_segments = first_leg->max_num_segments;
	bdev->max_rw_size = first_leg->max_rw_size;
	bdev->split_on_write_unit = first_leg->split_on_write_unit;
#else
	/*
	 * With no alignment at all 20.07 does not split reads that bring no buffer, and has none above 64 KiB for them. But
	 * where it splits I/O with metadata in a buffer of its own it loses its place in there (_bdev_io_split() counts from
	 * the current iovec), and no host of such a format comes without a buffer.
	 */
	bdev->required_alignment = first_leg->md_len != 0 && !first_leg->md_interleave ? 0 : 1;
#endif
	mirror_shim_bdev_stack(bdev, first_leg);
	return bdev;
}

#if MIRROR_SHIM_2409
/* The smaller of two limits, 0 meaning none. */
static uint32_t
stricter(uint32_t a, uint32_t b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}
#endif

void
mirror_shim_bdev_stack(struct spdk_bdev *bdev, const struct spdk_bdev *leg)
{
	bdev->write_cache = bdev->write_cache || leg->write_cache;
	bdev->required_alignment = spdk_max(bdev->required_alignment, leg->required_alignment);
	bdev->acwu = spdk_min(bdev->acwu, leg->acwu);
	if (bdev->optimal_io_boundary != leg->optimal_io_boundary) {
		/* Each leg's own bdev layer splits what its leg needs split; a common boundary there is none. */
		bdev->optimal_io_boundary = 0;
		bdev->split_on_optimal_io_boundary = false;
	}
#if MIRROR_SHIM_2409
	bdev->phys_blocklen = spdk_max(bdev->phys_blocklen, leg->phys_blocklen);
	bdev->max_segment_size = stricter(bdev->max_segment_size, leg->max_segment_size);
	bdev->max_num_segments = stricter(bdev->max_num_segments, leg->max_num_segments);
	bdev->max_rw_size = stricter(bdev->max_rw_size, leg->max_rw_size);
#endif
}

int
mirror_shim_bdev_register(struct spdk_bdev *bdev, bool *destructing)
{
	int rc = spdk_bdev_register(bdev);

	*destructing = false;
#if MIRROR_SHIM_2409
	if (rc != 0) {
		*destructing = bdev->internal.status == SPDK_BDEV_STATUS_UNREGISTERING ||
			       bdev->internal.status == SPDK_BDEV_STATUS_REMOVING;
	}
#endif
	return rc;
}

int
mirror_shim_wait_for_examine(void (*cb)(void *ctx), void *ctx)
{
#if MIRROR_SHIM_2409
	return spdk_bdev_wait_for_examine(cb, ctx);
#else
	return -ENOTSUP;
#endif
}

void
mirror_shim_bdev_free(struct spdk_bdev *bdev)
{
	free(bdev);
}

void *
mirror_shim_bdev_ctx(const struct spdk_bdev *bdev)
{
	return bdev->ctxt;
}

const char *
mirror_shim_bdev_of_uuid(const uint8_t uuid[16])
{
	struct spdk_bdev *bdev;

	for (bdev = spdk_bdev_first(); bdev != NULL; bdev = spdk_bdev_next(bdev)) {
		if (memcmp(&bdev->uuid, uuid, sizeof(bdev->uuid)) == 0) {
			return bdev->name;
		}
	}
	return NULL;
}

const char *
mirror_shim_bdev_claimed_by(struct spdk_bdev *bdev)
{
	const char *name = NULL;

#if MIRROR_SHIM_2409
	spdk_spin_lock(&bdev->internal.spinlock);
	if (bdev->internal.claim_type == SPDK_BDEV_CLAIM_EXCL_WRITE) {
		name = bdev->internal.claim.v1.module->name;
	} else if (bdev->internal.claim_type != SPDK_BDEV_CLAIM_NONE) {
		struct spdk_bdev_module_claim *claim = TAILQ_FIRST(&bdev->internal.claim.v2.claims);

		name = claim != NULL && claim->module != NULL ? claim->module->name : "another module";
	}
	spdk_spin_unlock(&bdev->internal.spinlock);
#else
	pthread_mutex_lock(&bdev->internal.mutex);
	if (bdev->internal.claim_module != NULL) {
		name = bdev->internal.claim_module->name;
	}
	pthread_mutex_unlock(&bdev->internal.mutex);
#endif
	return name;
}

bool
mirror_shim_bdev_is_open(struct spdk_bdev *bdev)
{
	bool open;

#if MIRROR_SHIM_2409
	spdk_spin_lock(&bdev->internal.spinlock);
	open = !TAILQ_EMPTY(&bdev->internal.open_descs);
	spdk_spin_unlock(&bdev->internal.spinlock);
#else
	pthread_mutex_lock(&bdev->internal.mutex);
	open = !TAILQ_EMPTY(&bdev->internal.open_descs);
	pthread_mutex_unlock(&bdev->internal.mutex);
#endif
	return open;
}

int
mirror_shim_bdev_claim(struct spdk_bdev *bdev, struct spdk_bdev_desc *desc)
{
	return spdk_bdev_module_claim_bdev(bdev, desc, &g_module);
}
