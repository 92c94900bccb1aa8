/* SPDX-License-Identifier: BSD-3-Clause */
/* JSON in and out, and the log. */

#include "shim.h"
#include "spdk/log.h"

struct text {
	mirror_shim_text_cb cb;
	void *ctx;
};

static int
write_text(void *cb_ctx, const void *data, size_t size)
{
	struct text *text = cb_ctx;

	text->cb(text->ctx, data, size);
	return 0;
}

int
mirror_shim_params_text(const struct spdk_json_val *params, mirror_shim_text_cb cb, void *ctx)
{
	struct text text = { .cb = cb, .ctx = ctx };
	struct spdk_json_write_ctx *w;
	int rc;

	if (params == NULL) {
		return 0;
	}
	w = spdk_json_write_begin(write_text, &text, 0);
	if (w == NULL) {
		return -ENOMEM;
	}
	rc = spdk_json_write_val(w, params);
	return spdk_json_write_end(w) != 0 || rc != 0 ? -EINVAL : 0;
}

int
mirror_shim_bdev_info_text(struct spdk_bdev *bdev, mirror_shim_text_cb cb, void *ctx)
{
	struct text text = { .cb = cb, .ctx = ctx };
	struct spdk_json_write_ctx *w = spdk_json_write_begin(write_text, &text, 0);

	if (w == NULL) {
		return -ENOMEM;
	}
	spdk_json_write_object_begin(w);
	if (bdev->fn_table->dump_info_json != NULL) {
		bdev->fn_table->dump_info_json(bdev->ctxt, w);
	}
	spdk_json_write_object_end(w);
	return spdk_json_write_end(w) != 0 ? -EINVAL : 0;
}

void
mirror_shim_rpc_reply(struct spdk_jsonrpc_request *request, const char *text, size_t length)
{
	struct spdk_json_write_ctx *w = spdk_jsonrpc_begin_result(request);

	/* NULL: a notification wants no answer (before 24.01), and there is nothing to end. */
	if (w == NULL) {
		return;
	}
	spdk_json_write_val_raw(w, text, length);
	spdk_jsonrpc_end_result(request, w);
}

void
mirror_shim_json_raw(struct spdk_json_write_ctx *w, const char *text, size_t length)
{
	spdk_json_write_val_raw(w, text, length);
}

void
mirror_shim_json_member(struct spdk_json_write_ctx *w, const char *name, const char *text, size_t length)
{
	spdk_json_write_name(w, name);
	spdk_json_write_val_raw(w, text, length);
}

void
mirror_shim_log(enum mirror_shim_log_level level, const char *file, int line, const char *text)
{
	static const enum spdk_log_level levels[] = {
		[MIRROR_SHIM_LOG_ERROR] = SPDK_LOG_ERROR,
		[MIRROR_SHIM_LOG_WARNING] = SPDK_LOG_WARN,
		[MIRROR_SHIM_LOG_NOTICE] = SPDK_LOG_NOTICE,
	};

	spdk_log(levels[level], file, line, "bdev_mirror", "%s\n", text);
}
