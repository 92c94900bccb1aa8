/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All that differs between SPDK releases, behind one set of names. What returns int returns 0 or a negative errno.
 *
 * Rust holds spdk_bdev, spdk_bdev_io and spdk_bdev_module by pointer only. What the data path reads of them it reads at
 * the offsets below, which the C compiler takes from the headers of the release in use.
 */
#ifndef MIRROR_SHIM_H
#define MIRROR_SHIM_H

#include "spdk/stdinc.h"
#include "spdk/bdev.h"
#include "spdk/bdev_module.h"
#include "spdk/json.h"
#include "spdk/jsonrpc.h"
#include "spdk/rpc.h"
#include "spdk/thread.h"
#include "spdk/version.h"

/* The second generation of releases that the shim knows. */
#define MIRROR_SHIM_2409 (SPDK_VERSION >= SPDK_VERSION_NUM(24, 9, 0))

#ifndef SPDK_IO_CHANNEL_STRUCT_SIZE /* the struct is public in older releases */
#define SPDK_IO_CHANNEL_STRUCT_SIZE sizeof(struct spdk_io_channel)
#endif

enum {
	/* Where the module's per-I/O context starts in a spdk_bdev_io. */
	MIRROR_SHIM_IO_CTX_OFFSET = offsetof(struct spdk_bdev_io, driver_ctx),
	/* enum spdk_bdev_io_type, in one byte. */
	MIRROR_SHIM_IO_TYPE_OFFSET = offsetof(struct spdk_bdev_io, type),
	/* struct iovec *: the host's buffers. */
	MIRROR_SHIM_IO_IOVS_OFFSET = offsetof(struct spdk_bdev_io, u.bdev.iovs),
	/* Where the module's channel context starts behind a spdk_io_channel. */
	MIRROR_SHIM_CHANNEL_CTX_OFFSET = SPDK_IO_CHANNEL_STRUCT_SIZE,
	/* What a poller returns; names came after 20.07. */
	MIRROR_SHIM_POLLER_IDLE = 0,
	MIRROR_SHIM_POLLER_BUSY = 1,
};

/* Module: one per process, registered before main() runs. */

struct mirror_shim_module_ops {
	const char *name;
	int (*init)(void);
	void (*fini)(void);
	/* save_config asks; each bdev writes its own, see write_config_json. */
	int (*config_json)(struct spdk_json_write_ctx *w);
	int (*io_ctx_size)(void);
};

void mirror_shim_module_register(const struct mirror_shim_module_ops *ops);

/* bdevs */

struct mirror_shim_bdev_ops {
	int (*destruct)(void *ctx);
	void (*submit_request)(struct spdk_io_channel *ch, struct spdk_bdev_io *io);
	bool (*io_type_supported)(void *ctx, enum spdk_bdev_io_type type);
	struct spdk_io_channel *(*get_io_channel)(void *ctx);
	int (*dump_info_json)(void *ctx, struct spdk_json_write_ctx *w);
	void (*write_config_json)(struct spdk_bdev *bdev, struct spdk_json_write_ctx *w);
};

/* What a mirror has to know of a bdev before it takes it as a leg: sizes in bytes, counts in blocks. */
struct mirror_shim_bdev_view {
	const char *module; /* lives as long as the bdev */
	uint8_t uuid[16];
	uint64_t blockcnt;
	uint32_t blocklen;
	uint32_t md_len;
	uint32_t dif_type;
	uint32_t dif_pi_format;
	uint32_t write_unit_size;
	bool md_interleave;
	bool dif_is_head_of_md;
	bool write_cache;
	bool zoned;
	bool split_on_write_unit;
};

void mirror_shim_bdev_view(const struct spdk_bdev *bdev, struct mirror_shim_bdev_view *view);

/*
 * A bdev of ours, with format and limits of its first leg; NULL without memory. name is copied. stack() then merges the
 * limits of each further leg.
 */
struct spdk_bdev *mirror_shim_bdev_new(const char *name, const uint8_t uuid[16], void *ctx, uint64_t blockcnt,
				       const struct mirror_shim_bdev_ops *ops, const struct spdk_bdev *first_leg);
void mirror_shim_bdev_stack(struct spdk_bdev *bdev, const struct spdk_bdev *leg);
/*
 * On failure *destructing says whether the bdev layer has begun to unregister the bdev by itself and will call destruct:
 * newer releases register first and may fail afterwards.
 */
int mirror_shim_bdev_register(struct spdk_bdev *bdev, bool *destructing);
void mirror_shim_bdev_free(struct spdk_bdev *bdev);
/* The ctx given to mirror_shim_bdev_new(). */
void *mirror_shim_bdev_ctx(const struct spdk_bdev *bdev);

/* The name of a registered bdev with this uuid, NULL if there is none: not every release looks before it registers another. */
const char *mirror_shim_bdev_of_uuid(const uint8_t uuid[16]);
/* Name of the module that claimed the bdev, NULL if none did. */
const char *mirror_shim_bdev_claimed_by(struct spdk_bdev *bdev);
/*
 * Calls back when no module examines a bdev any more; releases that hold a new bdev open until then have this. -ENOTSUP
 * where it is not needed.
 */
int mirror_shim_wait_for_examine(void (*cb)(void *ctx), void *ctx);
/* Whether any descriptor of the bdev is open. */
bool mirror_shim_bdev_is_open(struct spdk_bdev *bdev);
int mirror_shim_bdev_claim(struct spdk_bdev *bdev, struct spdk_bdev_desc *desc);

/* I/O */

/* How a child ended, kept while its siblings are in flight. */
struct mirror_shim_status {
	uint32_t cdw0;
	int8_t status; /* enum spdk_bdev_io_status */
	uint8_t sct;
	uint8_t sc;
};

void mirror_shim_io_status(const struct spdk_bdev_io *child, struct mirror_shim_status *status);
void mirror_shim_io_complete(struct spdk_bdev_io *io, const struct mirror_shim_status *status);

/* The children below take range, buffers and metadata from the host's I/O, shifted by offset_blocks on the leg. */
int mirror_shim_readv(struct spdk_bdev_desc *desc, struct spdk_io_channel *ch, struct spdk_bdev_io *io,
		      uint64_t offset_blocks, spdk_bdev_io_completion_cb cb, void *cb_arg);
int mirror_shim_writev(struct spdk_bdev_desc *desc, struct spdk_io_channel *ch, struct spdk_bdev_io *io,
		       uint64_t offset_blocks, spdk_bdev_io_completion_cb cb, void *cb_arg);
int mirror_shim_write_zeroes(struct spdk_bdev_desc *desc, struct spdk_io_channel *ch, struct spdk_bdev_io *io,
			     uint64_t offset_blocks, spdk_bdev_io_completion_cb cb, void *cb_arg);
int mirror_shim_unmap(struct spdk_bdev_desc *desc, struct spdk_io_channel *ch, struct spdk_bdev_io *io,
		      uint64_t offset_blocks, spdk_bdev_io_completion_cb cb, void *cb_arg);
/* The whole leg, whatever range the host named. */
int mirror_shim_flush(struct spdk_bdev_desc *desc, struct spdk_io_channel *ch,
		      spdk_bdev_io_completion_cb cb, void *cb_arg);
/* NVM Flush as a passthru command: bdev_nvme completes spdk_bdev_flush() without sending anything. */
int mirror_shim_nvme_flush(struct spdk_bdev_desc *desc, struct spdk_io_channel *ch,
			   spdk_bdev_io_completion_cb cb, void *cb_arg);
int mirror_shim_reset(struct spdk_bdev_desc *desc, struct spdk_io_channel *ch,
		      spdk_bdev_io_completion_cb cb, void *cb_arg);
int mirror_shim_abort(struct spdk_bdev_desc *desc, struct spdk_io_channel *ch, void *child_cb_arg,
		      spdk_bdev_io_completion_cb cb, void *cb_arg);

/* A buffer for a read that brought none. */
void mirror_shim_io_get_buffer(struct spdk_bdev_io *io, spdk_bdev_io_get_buf_cb cb);
/* The host I/O that an abort is after. */
struct spdk_bdev_io *mirror_shim_io_abort_target(const struct spdk_bdev_io *io);

/*
 * Calls cb once when this thread frees a spdk_bdev_io; ahead of other waiters where the release knows of layers. -EINVAL
 * if there is one to be had already, -ENOTSUP where threads keep none (bdev_io_cache_size 0): nobody would be woken.
 */
int mirror_shim_wait(struct spdk_bdev_io_wait_entry *entry, struct spdk_bdev_desc *desc, struct spdk_io_channel *ch,
		     spdk_bdev_io_wait_cb cb, void *cb_arg);

/* How many spdk_bdev_ios no thread has; 0 where that is not known. */
size_t mirror_shim_free_ios(void);

/* JSON and logs */

typedef void (*mirror_shim_text_cb)(void *ctx, const char *text, size_t length);

/* The RPC's parameters as JSON text, nothing if there were none; in pieces. -ENOMEM or -EINVAL if it could not be written. */
int mirror_shim_params_text(const struct spdk_json_val *params, mirror_shim_text_cb cb, void *ctx);
/* What the bdev's own module says of it (fn_table->dump_info_json), as one JSON object. */
int mirror_shim_bdev_info_text(struct spdk_bdev *bdev, mirror_shim_text_cb cb, void *ctx);
/* Answers the RPC with JSON text. */
void mirror_shim_rpc_reply(struct spdk_jsonrpc_request *request, const char *text, size_t length);
void mirror_shim_json_raw(struct spdk_json_write_ctx *w, const char *text, size_t length);
/* Writes one named member of an open object. */
void mirror_shim_json_member(struct spdk_json_write_ctx *w, const char *name, const char *text, size_t length);

enum mirror_shim_log_level {
	MIRROR_SHIM_LOG_ERROR,
	MIRROR_SHIM_LOG_WARNING,
	MIRROR_SHIM_LOG_NOTICE,
};

void mirror_shim_log(enum mirror_shim_log_level level, const char *file, int line, const char *text);

/* The program (link-static only): SPDK's own target, same command line. */
int mirror_shim_target_main(int argc, char **argv);

#endif
