/* consumer.c: ctx.consumer, whom the request was authenticated as, and tg.consumers, who there is.
 *
 * ctx.consumer is always an object, so that a plugin asks `ctx.consumer.name` or
 * `ctx.consumer:in_group "staff"` without looking first; nil and false mean nobody in particular.
 * Lists and metadata are tables of the caller's own, made at each use.
 *
 * What tg.consumers finds is a value that a plugin may keep for as long as it likes: it has the
 * consumer's name in it, and the number of the snapshot in which it was found. In another one it
 * looks the name up again, so it never points into a configuration that is gone, and one whose
 * consumer is gone has a name and nothing more.
 *
 * Threads: the VM's.
 */
#include "base/banned.h"
#include "bind/object.h"

#include "bind/zone.h"
#include "gateway/consumer.h"
#include "script/marshal.h"

#define CREDENTIAL_MAX 256 /* bytes of its identifier */

struct known {
    uint32_t magic;
    uint32_t nth; /* of the credential that it was found by; 0: by its name */
    enum tg_credential_kind kind;
    uint64_t revision; /* of the snapshot that `consumer` belongs to */
    const struct tg_consumer *consumer;
    size_t name_n;
    char name[];
};

/* ---- What is shown of a consumer, NULL included ---- */

static int push_words(lua_State *L, const struct tg_consumer_words *words)
{
    lua_createtable(L, words != NULL ? (int)words->n : 0, 0);
    for (uint32_t i = 0; words != NULL && i < words->n; i++) {
        tg_bind_push_str(L, words->v[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

static int push_metadata(lua_State *L, const struct tg_consumer *consumer)
{
    if (consumer == NULL || consumer->metadata.p == NULL ||
        tg_marshal_decode(L, consumer->metadata) != TG_OK)
        lua_newtable(L);
    return 1;
}

static int push_in_group(lua_State *L, const struct tg_consumer *consumer, struct tg_str group)
{
    lua_pushboolean(L, consumer != NULL && tg_consumer_words_have(consumer->groups, group));
    return 1;
}

/* Defines tg_api_<scope>_<field>() for both kinds of objects; `of` finds the consumer. */
#define FIELDS(scope, of)                                                                          \
    int tg_api_##scope##_id(lua_State *L, struct tg_bind_object *object)                           \
    {                                                                                              \
        const struct tg_consumer *c = of(L, object);                                               \
        return tg_bind_push_str(L, c != NULL ? c->id : tg_str(NULL, 0));                           \
    }                                                                                              \
    int tg_api_##scope##_custom_id(lua_State *L, struct tg_bind_object *object)                    \
    {                                                                                              \
        const struct tg_consumer *c = of(L, object);                                               \
        return tg_bind_push_str(L, c != NULL ? c->custom_id : tg_str(NULL, 0));                    \
    }                                                                                              \
    int tg_api_##scope##_groups(lua_State *L, struct tg_bind_object *object)                       \
    {                                                                                              \
        const struct tg_consumer *c = of(L, object);                                               \
        return push_words(L, c != NULL ? c->groups : NULL);                                        \
    }                                                                                              \
    int tg_api_##scope##_tags(lua_State *L, struct tg_bind_object *object)                         \
    {                                                                                              \
        const struct tg_consumer *c = of(L, object);                                               \
        return push_words(L, c != NULL ? c->tags : NULL);                                          \
    }                                                                                              \
    int tg_api_##scope##_metadata(lua_State *L, struct tg_bind_object *object)                     \
    {                                                                                              \
        return push_metadata(L, of(L, object));                                                    \
    }

/* ---- ctx.consumer ---- */

int tg_api_ctx_consumer(lua_State *L, struct tg_bind_object *object)
{
    return tg_bind_push_object(L, object, TG_SCOPE_CONSUMER);
}

static const struct tg_consumer *of_request(lua_State *L, struct tg_bind_object *object)
{
    (void)L;
    return object->r->consumer;
}

FIELDS(consumer, of_request)

int tg_api_consumer_name(lua_State *L, struct tg_bind_object *object)
{
    const struct tg_consumer *c = object->r->consumer;
    return tg_bind_push_str(L, c != NULL ? c->name : tg_str(NULL, 0));
}

int tg_api_consumer_credential(lua_State *L, struct tg_bind_object *object)
{
    return tg_bind_push_str(L, object->r->credential);
}

int tg_api_consumer_in_group(lua_State *L)
{
    const struct tg_request *r = tg_bind_request(L);
    return push_in_group(L, r->consumer, tg_bind_arg_str(L, 1));
}

/* ---- Those that tg.consumers found ---- */

static const struct tg_snapshot *snapshot_of(lua_State *L)
{
    return tg_bind_vm_entry(L)->host.set->snapshot;
}

/* The consumer that `known` means in this configuration; NULL: it is gone. */
static const struct tg_consumer *current(const struct tg_snapshot *snapshot,
                                         const struct known *known)
{
    const struct tg_consumer *found;
    if (TG_LIKELY(known->revision == snapshot->revision))
        return known->consumer;
    struct tg_str name = tg_str(known->name, known->name_n);
    return tg_consumer_find(snapshot->consumers, name, &found) == TG_OK ? found : NULL;
}

static const struct tg_consumer *of_known(lua_State *L, struct tg_bind_object *object)
{
    (void)object;
    return current(snapshot_of(L), lua_touserdata(L, 1));
}

FIELDS(known_consumer, of_known)

int tg_api_known_consumer_name(lua_State *L, struct tg_bind_object *object)
{
    const struct known *known = lua_touserdata(L, 1);
    (void)object;
    return tg_bind_push_str(L, tg_str(known->name, known->name_n));
}

int tg_api_known_consumer_in_group(lua_State *L)
{
    const struct known *known = tg_bind_check_value(L);
    return push_in_group(L, current(snapshot_of(L), known), tg_bind_arg_str(L, 1));
}

static struct known *push_known(lua_State *L, const struct tg_snapshot *snapshot,
                                const struct tg_consumer *consumer)
{
    struct tg_str name = consumer->name;
    struct known *known = tg_bind_new_value(L, TG_SCOPE_KNOWN_CONSUMER, sizeof(*known) + name.n);
    known->revision = snapshot->revision;
    known->consumer = consumer;
    known->name_n = name.n;
    memcpy(known->name, name.p, name.n);
    return known;
}

static int push_missing(lua_State *L, enum tg_err err)
{
    if (err != TG_E_NOT_FOUND)
        return tg_bind_fail(L, "unavailable", tg_err_text(err));
    lua_pushnil(L);
    return 1;
}

int tg_api_consumers_get(lua_State *L)
{
    const struct tg_snapshot *snapshot = snapshot_of(L);
    const struct tg_consumer *consumer;
    enum tg_err err = tg_consumer_find(snapshot->consumers, tg_bind_arg_str(L, 1), &consumer);
    if (err != TG_OK)
        return push_missing(L, err);
    push_known(L, snapshot, consumer);
    return 1;
}

static enum tg_credential_kind arg_kind(lua_State *L, int n)
{
    enum tg_credential_kind kind;
    char room[160];
    struct tg_fmt f;
    if (tg_credential_kind_from(tg_bind_arg_str(L, n), &kind))
        return kind;
    tg_fmt_init(&f, room, sizeof(room) - 1);
    tg_fmt_lit(&f, "no kind of credential; there are ");
    for (int i = 0; i < TG_CREDENTIAL_KINDS; i++)
        tg_fmt_printf(&f, "%s\"%s\"", i > 0 ? ", " : "",
                      tg_credential_kind_info((enum tg_credential_kind)i)->name);
    room[f.n] = '\0';
    tg_bind_arg_error(L, n, room);
}

int tg_api_consumers_by_credential(lua_State *L)
{
    const struct tg_snapshot *snapshot = snapshot_of(L);
    enum tg_credential_kind kind = arg_kind(L, 1);
    struct tg_consumer_match match;
    enum tg_err err = tg_consumer_find_by(snapshot->consumers, kind, tg_bind_arg_str(L, 2), &match);
    if (err != TG_OK)
        return push_missing(L, err);
    struct known *known = push_known(L, snapshot, match.consumer);
    known->kind = kind;
    known->nth = match.nth;
    return 1;
}

/* ---- Authenticating ---- */

static const struct known *arg_known(lua_State *L, int n)
{
    const struct known *known = lua_touserdata(L, tg_bind_arg_index(L, n));
    if (known == NULL || known->magic != TG_BIND_MAGIC + (uint32_t)TG_SCOPE_KNOWN_CONSUMER)
        tg_bind_arg_error(L, n, "expected a consumer that tg.consumers found");
    return known;
}

/* The id of the table at argument 2, or what the consumer was found by, written to `room`. */
static struct tg_str arg_credential(lua_State *L, const struct known *known, char *room,
                                    size_t size)
{
    struct tg_str id = {NULL, 0};
    if (tg_bind_arg_table(L, 2, true)) {
        lua_pushliteral(L, "id");
        lua_rawget(L, 3);
        if (lua_type(L, -1) == LUA_TSTRING)
            id.p = lua_tolstring(L, -1, &id.n);
        if (id.n == 0 || id.n > CREDENTIAL_MAX)
            tg_bind_arg_error(L, 2, "expected { id = \"...\" }, 1 to 256 bytes that are no secret");
        return id;
    }
    if (known->nth == 0)
        return id;
    struct tg_fmt f;
    tg_fmt_init(&f, room, size);
    tg_credential_write_name(known->kind, known->nth, &f);
    return tg_fmt_str(&f);
}

int tg_api_consumer_authenticate(lua_State *L)
{
    struct tg_request *r = tg_bind_request(L);
    const struct known *known = arg_known(L, 1);
    char room[64];
    struct tg_str credential = arg_credential(L, known, room, sizeof(room));
    const struct tg_consumer *consumer = current(r->snapshot, known);
    if (consumer == NULL)
        tg_bind_arg_error(L, 1, "is not in the configuration any more");
    enum tg_err err = tg_request_authenticate(r, consumer, credential);
    if (err == TG_E_UNAVAILABLE)
        tg_bind_call_error(L, "the access phase is over");
    tg_bind_check(L, err, 0);
    lua_settop(L, 1);
    return 1;
}
