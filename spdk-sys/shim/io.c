/* SPDX-License-Identifier: BSD-3-Clause */
/* I/O: children on a leg, their status, buffers, waiting. */

#include "shim.h"
#include "spdk/env.h"
#include "spdk/likely.h"
#include "spdk/nvme_spec.h"

#define HAS_2509 (SPDK_VERSION >= SPDK_VERSION_NUM(25, 9, 0))

void
mirror_shim_io_status(const struct spdk_bdev_io *child, struct mirror_shim_status *status)
{
	int sct, sc;

	spdk_bdev_io_get_nvme_status(child, &status->cdw0, &sct, &sc);
	status->status = child->internal.status;
	status->sct = sct;
	status->sc = sc;
}

void
mirror_shim_io_complete(struct spdk_bdev_io *io, const struct mirror_shim_status *status)
{
	switch (status->status) {
	case SPDK_BDEV_IO_STATUS_NVME_ERROR:
		spdk_bdev_io_complete_nvme_status(io, status->cdw0, status->sct, status->sc);
		break;
	case SPDK_BDEV_IO_STATUS_SUCCESS:
	case SPDK_BDEV_IO_STATUS_ABORTED:
	case SPDK_BDEV_IO_STATUS_MISCOMPARE:
		spdk_bdev_io_complete(io, status->status);
		break;
	default:
		/* Never NOMEM, which the bdev layer would retry; a SCSI status has no place in a mirror of any legs. */
		spdk_bdev_io_complete(io, SPDK_BDEV_IO_STATUS_FAILED);
	}
}

/*
 * Formats with metadata go their own way, so that the common case has no frame to set up. On newer releases the host may
 * have asked for fewer checks than the format makes. A host's FUA bit (nvme_cdw12) is not passed on by either way: no
 * drive sees it from SPDK's modules.
 */
static __attribute__((noinline)) int
read_with_metadata(struct spdk_bdev_desc *desc, struct spdk_io_channel *ch, struct spdk_bdev_io *io,
		   uint64_t offset, spdk_bdev_io_completion_cb cb, void *cb_arg)
{
#if MIRROR_SHIM_2409
	struct spdk_bdev_ext_io_opts opts = {
		.size = sizeof(opts),
		.metadata = io->u.bdev.md_buf,
		.dif_check_flags_exclude_mask = ~io->u.bdev.dif_check_flags,
#ifdef SPDK_DIF_FLAGS_NVME_PRACT
		/* The host leaves protection information to the drive; the bdev layer takes this bit from here alone. */
		.nvme_cdw12.raw = io->u.bdev.dif_check_flags & SPDK_DIF_FLAGS_NVME_PRACT,
#endif
	};

	return spdk_bdev_readv_blocks_ext(desc, ch, io->u.bdev.iovs, io->u.bdev.iovcnt, offset,
					  io->u.bdev.num_blocks, cb, cb_arg, &opts);
#else
	if (io->u.bdev.md_buf == NULL) {
		return spdk_bdev_readv_blocks(desc, ch, io->u.bdev.iovs, io->u.bdev.iovcnt, offset,
					      io->u.bdev.num_blocks, cb, cb_arg);
	}
	return spdk_bdev_readv_blocks_with_md(desc, ch, io->u.bdev.iovs, io->u.bdev.iovcnt, io->u.bdev.md_buf,
					      offset, io->u.bdev.num_blocks, cb, cb_arg);
#endif
}

static __attribute__((noinline)) int
write_with_metadata(struct spdk_bdev_desc *desc, struct spdk_io_channel *ch, struct spdk_bdev_io *io,
		    uint64_t offset, spdk_bdev_io_completion_cb cb, void *cb_arg)
{
#if MIRROR_SHIM_2409
	struct spdk_bdev_ext_io_opts opts = {
		.size = sizeof(opts),
		.metadata = io->u.bdev.md_buf,
		.dif_check_flags_exclude_mask = ~io->u.bdev.dif_check_flags,
#ifdef SPDK_DIF_FLAGS_NVME_PRACT
		/* The host leaves protection information to the drive; the bdev layer takes this bit from here alone. */
		.nvme_cdw12.raw = io->u.bdev.dif_check_flags & SPDK_DIF_FLAGS_NVME_PRACT,
#endif
	};

	return spdk_bdev_writev_blocks_ext(desc, ch, io->u.bdev.iovs, io->u.bdev.iovcnt, offset,
					   io->u.bdev.num_blocks, cb, cb_arg, &opts);
#else
	if (io->u.bdev.md_buf == NULL) {
		return spdk_bdev_writev_blocks(desc, ch, io->u.bdev.iovs, io->u.bdev.iovcnt, offset,
					       io->u.bdev.num_blocks, cb, cb_arg);
	}
	return spdk_bdev_writev_blocks_with_md(desc, ch, io->u.bdev.iovs, io->u.bdev.iovcnt, io->u.bdev.md_buf,
					       offset, io->u.bdev.num_blocks, cb, cb_arg);
#endif
}

int
mirror_shim_readv(struct spdk_bdev_desc *desc, struct spdk_io_channel *ch, struct spdk_bdev_io *io,
		  uint64_t offset_blocks, spdk_bdev_io_completion_cb cb, void *cb_arg)
{
	uint64_t offset = io->u.bdev.offset_blocks + offset_blocks;

	if (spdk_unlikely(io->bdev->md_len != 0)) {
		return read_with_metadata(desc, ch, io, offset, cb, cb_arg);
	}
	/* One buffer is the common case, and SPDK has a shorter way for it. */
	if (spdk_likely(io->u.bdev.iovcnt == 1)) {
		return spdk_bdev_read_blocks(desc, ch, io->u.bdev.iovs[0].iov_base, offset,
					     io->u.bdev.num_blocks, cb, cb_arg);
	}
	return spdk_bdev_readv_blocks(desc, ch, io->u.bdev.iovs, io->u.bdev.iovcnt, offset,
				      io->u.bdev.num_blocks, cb, cb_arg);
}

int
mirror_shim_writev(struct spdk_bdev_desc *desc, struct spdk_io_channel *ch, struct spdk_bdev_io *io,
		   uint64_t offset_blocks, spdk_bdev_io_completion_cb cb, void *cb_arg)
{
	uint64_t offset = io->u.bdev.offset_blocks + offset_blocks;

	if (spdk_unlikely(io->bdev->md_len != 0)) {
		return write_with_metadata(desc, ch, io, offset, cb, cb_arg);
	}
	if (spdk_likely(io->u.bdev.iovcnt == 1)) {
		return spdk_bdev_write_blocks(desc, ch, io->u.bdev.iovs[0].iov_base, offset,
					      io->u.bdev.num_blocks, cb, cb_arg);
	}
	return spdk_bdev_writev_blocks(desc, ch, io->u.bdev.iovs, io->u.bdev.iovcnt, offset,
				       io->u.bdev.num_blocks, cb, cb_arg);
}

int
mirror_shim_write_zeroes(struct spdk_bdev_desc *desc, struct spdk_io_channel *ch, struct spdk_bdev_io *io,
			 uint64_t offset_blocks, spdk_bdev_io_completion_cb cb, void *cb_arg)
{
	return spdk_bdev_write_zeroes_blocks(desc, ch, io->u.bdev.offset_blocks + offset_blocks,
					     io->u.bdev.num_blocks, cb, cb_arg);
}

int
mirror_shim_unmap(struct spdk_bdev_desc *desc, struct spdk_io_channel *ch, struct spdk_bdev_io *io,
		  uint64_t offset_blocks, spdk_bdev_io_completion_cb cb, void *cb_arg)
{
	return spdk_bdev_unmap_blocks(desc, ch, io->u.bdev.offset_blocks + offset_blocks,
				      io->u.bdev.num_blocks, cb, cb_arg);
}

int
mirror_shim_flush(struct spdk_bdev_desc *desc, struct spdk_io_channel *ch,
		  spdk_bdev_io_completion_cb cb, void *cb_arg)
{
	return spdk_bdev_flush_blocks(desc, ch, 0, spdk_bdev_desc_get_bdev(desc)->blockcnt, cb, cb_arg);
}

int
mirror_shim_nvme_flush(struct spdk_bdev_desc *desc, struct spdk_io_channel *ch,
		       spdk_bdev_io_completion_cb cb, void *cb_arg)
{
	/* bdev_nvme fills in the namespace: NVM Express Base Specification, NVM Command Set, Flush. */
	struct spdk_nvme_cmd cmd = { .opc = SPDK_NVME_OPC_FLUSH };

	return spdk_bdev_nvme_io_passthru(desc, ch, &cmd, NULL, 0, cb, cb_arg);
}

int
mirror_shim_reset(struct spdk_bdev_desc *desc, struct spdk_io_channel *ch,
		  spdk_bdev_io_completion_cb cb, void *cb_arg)
{
	return spdk_bdev_reset(desc, ch, cb, cb_arg);
}

int
mirror_shim_abort(struct spdk_bdev_desc *desc, struct spdk_io_channel *ch, void *child_cb_arg,
		  spdk_bdev_io_completion_cb cb, void *cb_arg)
{
	return spdk_bdev_abort(desc, ch, child_cb_arg, cb, cb_arg);
}

void
mirror_shim_io_get_buffer(struct spdk_bdev_io *io, spdk_bdev_io_get_buf_cb cb)
{
	spdk_bdev_io_get_buf(io, cb, io->u.bdev.num_blocks * io->bdev->blocklen);
}

struct spdk_bdev_io *
mirror_shim_io_abort_target(const struct spdk_bdev_io *io)
{
	return io->u.abort.bio_to_abort;
}

int
mirror_shim_wait(struct spdk_bdev_io_wait_entry *entry, struct spdk_bdev_desc *desc, struct spdk_io_channel *ch,
		 spdk_bdev_io_wait_cb cb, void *cb_arg)
{
	struct spdk_bdev_opts opts;

	/* Without a cache the bdev layer wakes nobody, and whoever waits keeps his thread from the pool for ever. */
#if MIRROR_SHIM_2409
	spdk_bdev_get_opts(&opts, sizeof(opts));
#else
	spdk_bdev_get_opts(&opts);
#endif
	if (opts.bdev_io_cache_size == 0) {
		return -ENOTSUP;
	}
	entry->bdev = spdk_bdev_desc_get_bdev(desc);
	entry->cb_fn = cb;
	entry->cb_arg = cb_arg;
#if HAS_2509
	/* A layer below others goes first, or those above take every spdk_bdev_io for I/O that it cannot serve. */
	entry->dep_unblock = true;
#endif
	return spdk_bdev_queue_io_wait(entry->bdev, ch, entry);
}

size_t
mirror_shim_free_ios(void)
{
	char name[32];
	struct spdk_mempool *pool;

	/* The bdev layer keeps the pool to itself, but its name is the same in all releases. */
	snprintf(name, sizeof(name), "bdev_io_%d", getpid());
	pool = spdk_mempool_lookup(name);
	return pool != NULL ? spdk_mempool_count(pool) : 0;
}
