/* edit.c: what plugins may change of a request and its answer, and what they may wait for.
 *
 * Everything that comes from a plugin is checked as if it came from a peer: names are tokens,
 * values hold no control characters, and the fields that say where a message ends are not theirs.
 */
#include "base/banned.h"
#include "gateway/internal.h"
#include "gateway/unpack.h"

#include "http/token.h"

/* ---- Checks ------------------------------------------------------------------------------------
 */

static enum tg_err count_edit(struct tg_request *r)
{
    if (r->edit_count >= r->snapshot->settings.limits.request_edits) {
        tg_limit_hit(request_edits);
        return TG_E_LIMIT;
    }
    r->edit_count++;
    return TG_OK;
}

enum tg_err tg_edit_check(struct tg_field *field)
{
    if (!tg_str_is_token(field->name) || !tg_str_is_value(field->value))
        return TG_E_INVALID;
    tg_field_identify(field);
    return tg_field_is_own(field->id) ? TG_E_EXISTS : TG_OK;
}

/* Checks, counts and copies an edit: one allocation for both slices. */
static enum tg_err take_edit(struct tg_request *r, struct tg_str name, struct tg_str value,
                             struct tg_field *out)
{
    *out = (struct tg_field){.name = name, .value = value};
    enum tg_err err = tg_edit_check(out);
    if (err == TG_OK)
        err = count_edit(r);
    if (err != TG_OK)
        return err;
    char *p = tg_arena_alloc(&r->arena, name.n + value.n);
    if (p == NULL)
        return TG_E_NOMEM;
    memcpy(p, name.p, name.n);
    if (value.n > 0)
        memcpy(p + name.n, value.p, value.n);
    out->name = tg_str(p, name.n);
    out->value = tg_str(p + name.n, value.n);
    return TG_OK;
}

static enum tg_err apply(struct tg_fields *fields, enum tg_edit_kind kind,
                         const struct tg_field *field)
{
    switch (kind) {
    case TG_EDIT_SET:
        return tg_fields_set_field(fields, field);
    case TG_EDIT_ADD:
        return tg_fields_add_field(fields, field);
    case TG_EDIT_REMOVE:
        tg_fields_remove_field(fields, field);
        return TG_OK;
    case TG_EDIT_STATUS:
        break;
    }
    return TG_E_INVALID;
}

/* ---- The answer --------------------------------------------------------------------------------
 */

#define ANSWER_ROOM 65536 /* one block of the arena */

void tg_request_make_room(struct tg_request *r)
{
    if (r->answer_room)
        return;
    r->answer_room = true;
    r->arena.limit += ANSWER_ROOM;
}

enum tg_err tg_request_answer(struct tg_request *r, enum tg_source source, unsigned status,
                              struct tg_str body)
{
    struct tg_fields *fields = &r->resp.fields;
    if (status < 200 || status > 599)
        return TG_E_INVALID;
    r->source = source;
    r->resp = (struct tg_response_head){
        .status = (uint16_t)status,
        .framing = body.n > 0 ? TG_FRAMING_LENGTH : TG_FRAMING_NONE,
        .length = body.n,
        .has_length = true,
    };
    r->resp_body = body;
    tg_fields_init(fields, &r->arena);
    enum tg_err err = tg_fields_add(fields, TG_STR("Date"), tg_gate_date(r->gate));
    if (err != TG_OK)
        return err;
    return tg_fields_add(fields, TG_STR("Server"), r->snapshot->settings.server_name);
}

/* Records an edit for the time when there is a response. */
static enum tg_err record(struct tg_request *r, enum tg_edit_kind kind, unsigned status,
                          const struct tg_field *field)
{
    struct tg_edit *edit = tg_arena_alloc(&r->arena, sizeof(*edit));
    if (edit == NULL)
        return TG_E_NOMEM;
    *edit = (struct tg_edit){NULL, kind, status, *field};
    *r->edits_end = edit;
    r->edits_end = &edit->next;
    return TG_OK;
}

/* The list that the origin sent stays as it is; the first edit works on a copy. */
static enum tg_err own_fields(struct tg_request *r)
{
    if (r->resp.fields.v == NULL || r->resp.fields.v != r->upstream.fields.v)
        return TG_OK;
    struct tg_fields copy;
    enum tg_err err = tg_fields_copy(&r->resp.fields, &copy);
    if (err == TG_OK)
        r->resp.fields = copy;
    return err;
}

enum tg_err tg_request_apply_field(struct tg_request *r, enum tg_edit_kind kind,
                                   const struct tg_field *field)
{
    if (r->resp.status == 0)
        return record(r, kind, 0, field);
    enum tg_err err = own_fields(r);
    return err == TG_OK ? apply(&r->resp.fields, kind, field) : err;
}

enum tg_err tg_request_edit_response(struct tg_request *r, enum tg_edit_kind kind,
                                     struct tg_str name, struct tg_str value)
{
    struct tg_field field;
    enum tg_err err = take_edit(r, name, value, &field);
    return err == TG_OK ? tg_request_apply_field(r, kind, &field) : err;
}

/* The field of a prepared edit: as it stands there, or in `room` with the value made for `r`. */
static const struct tg_field *prepared_field(struct tg_request *r, const struct tg_edits_item *item,
                                             struct tg_field *room)
{
    if (TG_LIKELY(item->render == NULL))
        return &item->field;
    *room = item->field;
    room->value = tg_str_trim(item->render(item->of, r)); /* RFC 9110, 5.5: no blanks around it */
    return room->value.p != NULL ? room : NULL;
}

enum tg_err tg_request_apply_response(struct tg_request *r, const struct tg_edits *edits)
{
    enum tg_err err = TG_OK;
    for (uint32_t i = 0; i < edits->n && err == TG_OK; i++) {
        struct tg_field room;
        const struct tg_field *field = prepared_field(r, &edits->v[i], &room);
        if (field == NULL)
            err = TG_E_NOMEM;
        else if (!edits->v[i].unless_empty || field->value.n > 0)
            err = tg_request_apply_field(r, edits->v[i].kind, field);
    }
    if (edits->compression != NULL)
        r->compression = edits->compression;
    return err;
}

static void change_status(struct tg_request *r, unsigned status)
{
    r->resp.status = (uint16_t)status;
    r->resp.reason = (struct tg_str){NULL, 0};
}

enum tg_err tg_request_set_status(struct tg_request *r, unsigned status)
{
    if (status < 200 || status > 599)
        return TG_E_INVALID;
    if (r->resp.status == 0)
        return record(r, TG_EDIT_STATUS, status, &(struct tg_field){.name = TG_STR("")});
    change_status(r, status);
    return TG_OK;
}

enum tg_err tg_edit_apply(struct tg_request *r)
{
    enum tg_err err = r->edits != NULL ? own_fields(r) : TG_OK;
    for (struct tg_edit *edit = r->edits; edit != NULL && err == TG_OK; edit = edit->next) {
        if (edit->kind == TG_EDIT_STATUS)
            change_status(r, edit->status);
        else
            err = apply(&r->resp.fields, edit->kind, &edit->field);
    }
    r->edits = NULL;
    r->edits_end = &r->edits;
    return err;
}

/* ---- The access record ------------------------------------------------------------------------
 */

#define RECORD_FIELDS_MAX 8192 /* bytes that plugins may add to one record */

void tg_request_begin_log_field(struct tg_request *r, struct tg_str key, struct tg_fmt *f,
                                struct tg_json *j)
{
    tg_fmt_init_arena(f, &r->arena, r->log_fields.n + key.n + 64);
    tg_fmt_add(f, r->log_fields);
    tg_json_init(j, f);
    j->comma = r->log_fields.n > 0;
    tg_json_key(j, key);
}

enum tg_err tg_request_end_log_field(struct tg_request *r, const struct tg_fmt *f)
{
    struct tg_str text = tg_fmt_str(f);
    if (text.p == NULL)
        return TG_E_NOMEM;
    if (text.n > RECORD_FIELDS_MAX)
        return TG_E_LIMIT;
    r->log_fields = text;
    return TG_OK;
}

/* ---- What goes to the origin -------------------------------------------------------------------
 */

enum tg_err tg_request_edit_upstream(struct tg_request *r, enum tg_edit_kind kind,
                                     struct tg_str name, struct tg_str value)
{
    struct tg_field field;
    enum tg_err err = take_edit(r, name, value, &field);
    if (err == TG_OK)
        err = tg_forward_fields(r);
    return err == TG_OK ? apply(&r->out.fields, kind, &field) : err;
}

enum tg_err tg_request_apply_upstream(struct tg_request *r, const struct tg_edits *edits)
{
    enum tg_err err = edits->n > 0 ? tg_forward_fields(r) : TG_OK;
    for (uint32_t i = 0; i < edits->n && err == TG_OK; i++) {
        struct tg_field room;
        const struct tg_field *field = prepared_field(r, &edits->v[i], &room);
        if (field == NULL)
            err = TG_E_NOMEM;
        else if (!edits->v[i].unless_empty || field->value.n > 0)
            err = apply(&r->out.fields, edits->v[i].kind, field);
    }
    if (err == TG_OK && edits->decompression != NULL)
        err = tg_unpack_begin(r, edits->decompression);
    return err;
}

const struct tg_fields *tg_request_upstream_fields(const struct tg_request *r)
{
    return r->out.fields_copied ? &r->out.fields : &r->in.fields;
}

enum tg_err tg_request_set_method(struct tg_request *r, struct tg_str method)
{
    enum tg_method known = tg_method_from_name(method);
    if (!tg_str_is_token(method) || known == TG_METHOD_CONNECT)
        return TG_E_INVALID;
    struct tg_str copy = tg_arena_copy(&r->arena, method);
    if (copy.p == NULL)
        return TG_E_NOMEM;
    r->out.method_name = copy;
    r->out.method = known;
    return TG_OK;
}

enum tg_err tg_request_set_path(struct tg_request *r, struct tg_str path)
{
    if (path.n == 0 || path.p[0] != '/' || !tg_str_all(path, TG_CHAR_TARGET) ||
        tg_str_find(path, '?', 0) < path.n)
        return TG_E_INVALID;
    struct tg_str copy = tg_arena_copy(&r->arena, path);
    if (copy.p == NULL)
        return TG_E_NOMEM;
    r->out.path = copy;
    return TG_OK;
}

enum tg_err tg_request_set_query(struct tg_request *r, struct tg_str query)
{
    if (!tg_str_all(query, TG_CHAR_TARGET))
        return TG_E_INVALID;
    struct tg_str copy = tg_arena_copy(&r->arena, query);
    if (copy.p == NULL)
        return TG_E_NOMEM;
    r->out.query = query.n > 0 ? copy : (struct tg_str){NULL, 0};
    r->out.query_set = true;
    return TG_OK;
}

enum tg_err tg_request_set_body(struct tg_request *r, struct tg_str body)
{
    struct tg_str copy = tg_arena_copy(&r->arena, body);
    if (copy.p == NULL)
        return TG_E_NOMEM;
    r->out.body = copy;
    r->out.body_set = true;
    return TG_OK;
}

enum tg_err tg_request_set_service(struct tg_request *r, struct tg_str name)
{
    for (uint32_t i = 0; i < r->snapshot->service_count; i++) {
        if (tg_str_eq(r->snapshot->services[i].name, name)) {
            r->service = &r->snapshot->services[i];
            r->service_set = true;
            return TG_OK;
        }
    }
    return TG_E_NOT_FOUND;
}

/* ---- Waiting for the body ----------------------------------------------------------------------
 */

/* Whether the body is known to be larger than `max`, or than a plugin may collect at all. */
static bool is_too_large(struct tg_request *r, uint64_t max)
{
    struct tg_collected_body *b = &r->body;
    b->max = TG_MIN(max, r->snapshot->settings.limits.plugin_body);
    bool told = r->in.framing == TG_FRAMING_LENGTH && r->unpack == NULL;
    b->too_large = told ? r->in.length > b->max : b->buf.size > b->max;
    if (b->too_large && b->max == r->snapshot->settings.limits.plugin_body)
        tg_limit_hit(plugin_body);
    return b->too_large;
}

/* Reads on, for the plugin that waits. */
static enum tg_err want_body(struct tg_request *r, bool piecewise,
                             int (*on_resume)(struct tg_request *r, bool cancelled))
{
    static const struct tg_fields none;
    r->body.wanted = true;
    r->body.piecewise = piecewise;
    r->plugins.on_resume = on_resume;
    if (r->in.expect_continue && !r->continue_sent) {
        r->continue_sent = true;
        r->stream->ops->send_info(r->stream, 100, &none);
    }
    tg_loop_defer(&r->gate->worker->loop, &r->read_later);
    return TG_E_AGAIN;
}

bool tg_request_limit_body(struct tg_request *r, uint64_t max)
{
    if (r->stream == NULL)
        return true;
    r->stream->ops->limit_body(r->stream, max);
    if (r->in.framing == TG_FRAMING_LENGTH)
        return r->in.length <= max;
    return r->stream->bytes_in <= max;
}

enum tg_err tg_request_wait_body(struct tg_request *r, uint64_t max,
                                 int (*on_resume)(struct tg_request *r, bool cancelled))
{
    if (r->body.complete || r->in_ended)
        return TG_OK;
    if (r->upstream.called || r->stream == NULL)
        return TG_E_UNAVAILABLE;
    return is_too_large(r, max) ? TG_OK : want_body(r, false, on_resume);
}

enum tg_err tg_request_wait_chunk(struct tg_request *r, uint64_t max, size_t offset,
                                  int (*on_resume)(struct tg_request *r, bool cancelled))
{
    struct tg_collected_body *b = &r->body;
    if (r->upstream.called || r->stream == NULL)
        return TG_E_UNAVAILABLE;
    b->offset = offset;
    if (is_too_large(r, max) || offset < b->buf.size || b->complete || r->in_ended)
        return TG_OK;
    return want_body(r, true, on_resume);
}

void tg_request_unwait_body(struct tg_request *r)
{
    r->body.wanted = false;
    if (r->stream != NULL)
        tg_unpack_read(r, false);
}

struct tg_str tg_request_chunk(const struct tg_request *r)
{
    return tg_buf_piece(&r->body.buf, r->body.offset);
}

struct tg_str tg_request_body(struct tg_request *r)
{
    struct tg_collected_body *b = &r->body;
    if (b->whole.p != NULL)
        return b->whole;
    char *p = tg_arena_alloc(&r->arena, b->buf.size);
    if (p == NULL)
        return (struct tg_str){NULL, 0};
    tg_buf_copy_out(&b->buf, p);
    b->whole = tg_str(p, b->buf.size);
    return b->whole;
}
