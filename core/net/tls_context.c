/* tls_context.c: see tls_context.h.
 *
 *     certificates -> (name, certificate) pairs, sorted -> for each name the list of its
 *     certificates -> one SSL_CTX for each distinct list
 *
 * OpenSSL's SSL_CTX counts its users itself; ours holds one reference to each of its sets. */
#include "base/banned.h"
#include "net/tls_internal.h"

#include "base/assert.h"
#include "base/mem.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>

static const char intermediate_ciphers[] =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char modern_ciphers[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
static const char groups[] = "X25519:P-256:P-384";

static enum tg_err refuse(struct tg_tls_problem *why, const char *field, const char *text)
{
    why->field = field;
    snprintf(why->text, sizeof(why->text), "%s", text);
    ERR_clear_error();
    return TG_E_INVALID;
}

enum tg_err tg_tls_refuse_weak(struct tg_tls_problem *why)
{
    return refuse(why, "cert",
                  "OpenSSL does not take it (a key too short, or a signature too weak)");
}

bool tg_tls_digest(const struct tg_str *pieces, size_t count, unsigned char out[32])
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool good = md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1;
    for (size_t i = 0; i < count; i++)
        good = good && EVP_DigestUpdate(md, &pieces[i].n, sizeof(pieces[i].n)) == 1 &&
               (pieces[i].n == 0 || EVP_DigestUpdate(md, pieces[i].p, pieces[i].n) == 1);
    good = good && EVP_DigestFinal_ex(md, out, NULL) == 1;
    EVP_MD_CTX_free(md);
    return good;
}

/* ---- What servers and clients have in common ---------------------------------------------------
 */

static struct tg_tls_context *new_context(bool is_server)
{
    struct tg_tls_context *context = tg_mem_zalloc(TG_MEM_CONFIG, 1, sizeof(*context));
    if (context == NULL)
        return NULL;
    context->is_server = is_server;
    atomic_init(&context->refs, 1);
    return context;
}

struct tg_tls_context *tg_tls_context_ref(struct tg_tls_context *context)
{
    atomic_fetch_add_explicit(&context->refs, 1, memory_order_relaxed);
    return context;
}

static void free_context(struct tg_tls_context *context)
{
    if (context->sets == NULL)
        SSL_CTX_free(context->main);
    for (uint32_t i = 0; context->sets != NULL && i < context->set_count; i++)
        SSL_CTX_free(context->sets[i]);
    for (uint32_t i = 0; i < context->host_count; i++)
        tg_mem_free(TG_MEM_CONFIG, context->hosts[i].name);
    for (uint32_t i = 0; i < context->leaf_count; i++)
        tg_tls_leaf_release(&context->leaves[i]);
    tg_mem_free(TG_MEM_CONFIG, context->leaves);
    tg_mem_free(TG_MEM_CONFIG, context->sets);
    tg_mem_free(TG_MEM_CONFIG, context->hosts);
    tg_mem_free(TG_MEM_CONFIG, context->name);
    tg_mem_free(TG_MEM_CONFIG, context->pins);
    tg_mem_free(TG_MEM_CONFIG, context);
}

void tg_tls_context_unref(struct tg_tls_context **contextp)
{
    struct tg_tls_context *context = *contextp;
    *contextp = NULL;
    if (context == NULL)
        return;
    uint32_t before = atomic_fetch_sub_explicit(&context->refs, 1, memory_order_acq_rel);
    tg_assert(before > 0);
    if (before == 1)
        free_context(context);
}

uint32_t tg_tls_context_leaves(struct tg_tls_context *context, struct tg_tls_leaf **out)
{
    *out = context->leaves;
    return context->leaf_count;
}

uint64_t tg_tls_context_id(const struct tg_tls_context *context)
{
    return context->id;
}

/* Versions, ciphers and modes; NULL: no memory. */
static SSL_CTX *new_ctx(const SSL_METHOD *method, enum tg_tls_profile profile, int min_version)
{
    SSL_CTX *ctx = SSL_CTX_new(method);
    int least = profile == TG_TLS_MODERN ? TLS1_3_VERSION : TLS1_2_VERSION;
    if (ctx == NULL)
        return NULL;
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_read_ahead(ctx, 1); /* head and body of a record in one system call */
    tg_tls_hook(ctx);
    if (SSL_CTX_set_min_proto_version(ctx, TG_MAX(least, min_version)) != 1 ||
        SSL_CTX_set_cipher_list(ctx, intermediate_ciphers) != 1 ||
        SSL_CTX_set_ciphersuites(ctx, modern_ciphers) != 1 ||
        SSL_CTX_set1_groups_list(ctx, groups) != 1) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

/* The certificates of `text` become those that `ctx` trusts; *list is the caller's. */
static enum tg_err trust(SSL_CTX *ctx, struct tg_str text, STACK_OF(X509) * *list,
                         struct tg_tls_problem *why)
{
    enum tg_err err = tg_tls_certificates_read(text, list, why);
    X509_STORE *store = err == TG_OK ? X509_STORE_new() : NULL;
    if (err != TG_OK || store == NULL) {
        why->field = "ca";
        why->certificate = 0;
        return err != TG_OK ? err : TG_E_NOMEM;
    }
    for (int i = 0; i < sk_X509_num(*list); i++)
        X509_STORE_add_cert(store, sk_X509_value(*list, i)); /* one that is there twice is one */
    SSL_CTX_set_cert_store(ctx, store);
    ERR_clear_error();
    return TG_OK;
}

/* ---- Servers: certificates by name -------------------------------------------------------------
 */

/* A name that a certificate is for. */
struct claim {
    char *name; /* owned */
    uint32_t certificate;
    const char *kind; /* of its key */
};

struct claims {
    struct claim *v;
    uint32_t count, cap;
    uint32_t certificate; /* of what is added */
    const char *kind;
    bool failed;
};

static void add_claim(void *arg, struct tg_str name)
{
    struct claims *claims = arg;
    if (name.n == 0 || name.n > TG_TLS_NAME_MAX || memchr(name.p, '\0', name.n) != NULL)
        return;
    if (claims->count == claims->cap) {
        uint32_t cap = TG_MAX(claims->cap * 2, 16u);
        void *v = tg_mem_realloc(TG_MEM_CONFIG, claims->v, cap * sizeof(*claims->v));
        claims->failed |= v == NULL;
        if (v == NULL)
            return;
        claims->v = v;
        claims->cap = cap;
    }
    char *copy = tg_mem_strndup(TG_MEM_CONFIG, name.p, name.n);
    claims->failed |= copy == NULL;
    if (copy == NULL)
        return;
    for (char *p = copy; *p != '\0'; p++)
        *p = tg_char_lower(*p);
    claims->v[claims->count++] = (struct claim){copy, claims->certificate, claims->kind};
}

static int compare_claims(const void *a, const void *b)
{
    const struct claim *x = a;
    const struct claim *y = b;
    int names = strcmp(x->name, y->name);
    return names != 0 ? names
                      : (x->certificate > y->certificate) - (x->certificate < y->certificate);
}

static void free_claims(struct claims *claims)
{
    for (uint32_t i = 0; i < claims->count; i++)
        tg_mem_free(TG_MEM_CONFIG, claims->v[i].name);
    tg_mem_free(TG_MEM_CONFIG, claims->v);
}

/* Which names each certificate is for, sorted by name; and what else is known of it. */
static enum tg_err collect_claims(struct tg_tls_context *context,
                                  const struct tg_tls_server_options *o, struct claims *claims,
                                  struct tg_tls_problem *why)
{
    context->leaves = tg_mem_zalloc(TG_MEM_CONFIG, o->certificate_count, sizeof(*context->leaves));
    if (context->leaves == NULL)
        return TG_E_NOMEM;
    for (uint32_t i = 0; i < o->certificate_count; i++) {
        const struct tg_tls_certificate *c = &o->certificates[i];
        struct tg_tls_credentials credentials;
        why->certificate = i + 1;
        enum tg_err err = tg_tls_credentials_read(c->cert, c->key, &credentials, why);
        if (err != TG_OK)
            return err;
        err = tg_tls_leaf_init(&context->leaves[i], &credentials, &c->staple, why);
        if (err != TG_OK) {
            tg_tls_credentials_release(&credentials);
            return err;
        }
        context->leaf_count++;
        why->certificate = 0;
        uint32_t before = claims->count;
        claims->certificate = i;
        claims->kind = tg_tls_key_kind(credentials.leaf);
        for (uint32_t j = 0; j < c->host_count; j++)
            add_claim(claims, c->hosts[j]);
        if (c->host_count == 0)
            tg_tls_names(credentials.leaf, add_claim, claims);
        if (claims->count == before) /* it serves who asks for nothing that we know */
            add_claim(claims, TG_STR("*"));
        tg_tls_credentials_release(&credentials);
    }
    if (claims->failed || claims->v == NULL)
        return TG_E_NOMEM;
    qsort(claims->v, claims->count, sizeof(*claims->v), compare_claims);
    return TG_OK;
}

/* ---- Servers: sets -----------------------------------------------------------------------------
 */

struct sets {
    struct tg_tls_context *context;
    const struct tg_tls_server_options *options;
    const struct claim **first; /* by set: where its list of certificates stands */
    uint32_t *length;
};

int tg_tls_pass_anybody(int verified, X509_STORE_CTX *store)
{
    (void)verified;
    (void)store;
    return 1; /* SSL_get_verify_result() keeps what was wrong */
}

/* Who must or may show a certificate, and by whom it is signed. */
static enum tg_err ask_clients(SSL_CTX *ctx, const struct tg_tls_server_options *o,
                               struct tg_tls_problem *why)
{
    STACK_OF(X509) *list = NULL;
    if (o->client_auth == TG_TLS_AUTH_NONE && o->ca.n == 0)
        return TG_OK;
    enum tg_err err = trust(ctx, o->ca, &list, why);
    for (int i = 0; err == TG_OK && i < sk_X509_num(list); i++) {
        if (SSL_CTX_add_client_CA(ctx, sk_X509_value(list, i)) != 1)
            err = TG_E_NOMEM;
    }
    sk_X509_pop_free(list, X509_free);
    if (o->client_auth == TG_TLS_AUTH_OPTIONAL)
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, tg_tls_pass_anybody);
    else if (o->client_auth == TG_TLS_AUTH_REQUIRED)
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return err;
}

/* Sessions count only where the same clients are trusted: listener, mode and roots name them. */
static enum tg_err name_sessions(struct tg_tls_context *context,
                                 const struct tg_tls_server_options *o)
{
    const struct tg_str pieces[] = {
        o->name, {(const char *)&o->client_auth, sizeof(o->client_auth)}, o->ca};
    return tg_tls_digest(pieces, TG_COUNT_OF(pieces), context->session_name) ? TG_OK : TG_E_NOMEM;
}

static enum tg_err new_set(struct sets *sets, const struct claim *first, uint32_t n, SSL_CTX **out,
                           struct tg_tls_problem *why)
{
    const struct tg_tls_server_options *o = sets->options;
    const struct tg_tls_context *context = sets->context;
    SSL_CTX *ctx = new_ctx(TLS_server_method(), o->profile, o->min_version);
    if (ctx == NULL)
        return TG_E_NOMEM;
    /* A client that just closes has ended its side; answers of ours that break off say so. */
    SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER);
    SSL_CTX_sess_set_cache_size(ctx, TG_MAX(o->sessions, 1u));
    SSL_CTX_set_timeout(ctx, (long)(o->ticket_life / TG_USEC_PER_SEC));
    if (!o->tickets)
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    tg_tls_hook_server(ctx, sets->context);
    enum tg_err err = ask_clients(ctx, o, why);
    if (err == TG_OK && SSL_CTX_set_session_id_context(ctx, context->session_name,
                                                       sizeof(context->session_name)) != 1)
        err = TG_E_NOMEM;
    for (uint32_t i = 0; i < n && err == TG_OK; i++) {
        const struct tg_tls_leaf *leaf = &context->leaves[first[i].certificate];
        why->certificate = first[i].certificate + 1;
        if (SSL_CTX_use_cert_and_key(ctx, leaf->cert, leaf->key, leaf->chain, 1) != 1)
            err = tg_tls_refuse_weak(why);
    }
    if (err != TG_OK)
        SSL_CTX_free(ctx);
    else
        *out = ctx;
    return err;
}

/* Two certificates of one kind for one name: one of them would never be shown. */
static enum tg_err refuse_twins(const struct claim *first, uint32_t n, struct tg_tls_problem *why)
{
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (first[i].kind != first[j].kind || first[i].certificate == first[j].certificate)
                continue;
            why->field = "cert";
            why->certificate = first[i].certificate + 1;
            snprintf(why->text, sizeof(why->text),
                     "certificates[%u] and certificates[%u] are both %s and for %s; a name takes "
                     "one of each kind",
                     first[j].certificate + 1, first[i].certificate + 1, first[i].kind,
                     first->name);
            return TG_E_INVALID;
        }
    }
    return TG_OK;
}

static bool same_list(const struct claim *a, const struct claim *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (a[i].certificate != b[i].certificate)
            return false;
    }
    return true;
}

/* The set for the `n` certificates that begin at `first`, an old one or a new. */
static enum tg_err obtain_set(struct sets *sets, const struct claim *first, uint32_t n,
                              SSL_CTX **out, struct tg_tls_problem *why)
{
    struct tg_tls_context *context = sets->context;
    for (uint32_t i = 0; i < context->set_count; i++) {
        if (sets->length[i] == n && same_list(sets->first[i], first, n)) {
            *out = context->sets[i];
            return TG_OK;
        }
    }
    enum tg_err err = new_set(sets, first, n, out, why);
    if (err != TG_OK)
        return err;
    sets->first[context->set_count] = first;
    sets->length[context->set_count] = n;
    context->sets[context->set_count++] = *out;
    return TG_OK;
}

/* One host for each name, and the sets that they need. */
static enum tg_err build_hosts(struct sets *sets, struct claims *claims, struct tg_tls_problem *why)
{
    struct tg_tls_context *context = sets->context;
    uint32_t n = 0;
    for (uint32_t i = 0; i < claims->count; i += n) {
        struct claim *first = &claims->v[i];
        SSL_CTX *set = NULL;
        for (n = 1; i + n < claims->count && strcmp(first[n].name, first->name) == 0; n++) {
        }
        enum tg_err err = refuse_twins(first, n, why);
        if (err == TG_OK)
            err = obtain_set(sets, first, n, &set, why);
        if (err != TG_OK)
            return err;
        for (uint32_t j = 0; j < n && context->main == NULL; j++)
            context->main = first[j].certificate == 0 ? set : NULL;
        char *name = tg_mem_strndup(TG_MEM_CONFIG, first->name, strlen(first->name));
        if (name == NULL)
            return TG_E_NOMEM;
        context->hosts[context->host_count++] = (struct tg_tls_host){name, set};
    }
    return TG_OK;
}

static enum tg_err build_server(struct tg_tls_context *context,
                                const struct tg_tls_server_options *o, struct claims *claims,
                                struct tg_tls_problem *why)
{
    enum tg_err err = collect_claims(context, o, claims, why);
    if (err != TG_OK)
        return err;
    struct sets sets = {.context = context, .options = o};
    context->sets = tg_mem_zalloc(TG_MEM_CONFIG, claims->count, sizeof(*context->sets));
    context->hosts = tg_mem_zalloc(TG_MEM_CONFIG, claims->count, sizeof(*context->hosts));
    sets.first = tg_mem_zalloc(TG_MEM_CONFIG, claims->count, sizeof(*sets.first));
    sets.length = tg_mem_zalloc(TG_MEM_CONFIG, claims->count, sizeof(*sets.length));
    err = TG_E_NOMEM;
    if (context->sets != NULL && context->hosts != NULL && sets.first != NULL &&
        sets.length != NULL)
        err = build_hosts(&sets, claims, why);
    tg_mem_free(TG_MEM_CONFIG, sets.first);
    tg_mem_free(TG_MEM_CONFIG, sets.length);
    return err;
}

enum tg_err tg_tls_server_new(const struct tg_tls_server_options *options,
                              struct tg_tls_context **out, struct tg_tls_problem *why)
{
    struct tg_tls_context *context = new_context(true);
    struct claims claims = {0};
    if (context == NULL)
        return TG_E_NOMEM;
    tg_assert(options->certificate_count > 0);
    context->reject_unknown = options->reject_unknown;
    context->client_auth = options->client_auth;
    context->tickets = options->tickets;
    context->ticket_life = options->ticket_life;
    context->fingerprint = options->fingerprint;
    context->asks_plugins = options->asks_plugins;
    context->http2 = options->http2;
    enum tg_err err = name_sessions(context, options);
    if (err == TG_OK)
        err = build_server(context, options, &claims, why);
    free_claims(&claims);
    if (err != TG_OK)
        tg_tls_context_unref(&context);
    else
        *out = context;
    return err;
}

static SSL_CTX *find_host(const struct tg_tls_context *context, struct tg_str name)
{
    uint32_t low = 0;
    uint32_t high = context->host_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const char *here = context->hosts[middle].name;
        int order = strncmp(here, name.p, name.n);
        if (order == 0 && here[name.n] == '\0')
            return context->hosts[middle].set;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

SSL_CTX *tg_tls_context_find(const struct tg_tls_context *context, struct tg_str name)
{
    char pattern[TG_TLS_NAME_MAX + 3];
    SSL_CTX *set = name.n > 0 && name.n <= TG_TLS_NAME_MAX ? find_host(context, name) : NULL;
    for (size_t dot = tg_str_find(name, '.', 0);
         set == NULL && dot < name.n && name.n <= TG_TLS_NAME_MAX;
         dot = tg_str_find(name, '.', dot + 1)) {
        pattern[0] = '*';
        memcpy(pattern + 1, name.p + dot, name.n - dot);
        set = find_host(context, tg_str(pattern, name.n - dot + 1));
    }
    return set;
}

/* ---- Clients -----------------------------------------------------------------------------------
 */

/* A number for all that makes connections of one kind; not 0, which is clear text. */
static enum tg_err identify(const struct tg_tls_client_options *o, uint64_t *out)
{
    const int numbers[2] = {o->verify, o->min_version};
    const struct tg_str pieces[] = {
        {(const char *)numbers, sizeof(numbers)},
        o->ca,
        o->name,
        o->cert,
        o->key,
        {(const char *)o->pins, o->pin_count * sizeof(*o->pins)},
    };
    unsigned char digest[32];
    if (!tg_tls_digest(pieces, TG_COUNT_OF(pieces), digest))
        return TG_E_NOMEM;
    memcpy(out, digest, sizeof(*out));
    *out |= 1;
    return TG_OK;
}

static enum tg_err set_trust(struct tg_tls_context *context, const struct tg_tls_client_options *o,
                             struct tg_tls_problem *why)
{
    STACK_OF(X509) *list = NULL;
    enum tg_err err = TG_OK;
    if (!o->verify) {
        SSL_CTX_set_verify(context->main, SSL_VERIFY_NONE, NULL);
        return TG_OK;
    }
    SSL_CTX_set_verify(context->main, SSL_VERIFY_PEER, NULL);
    if (o->ca.n > 0)
        err = trust(context->main, o->ca, &list, why);
    else if (SSL_CTX_set_default_verify_paths(context->main) != 1)
        err = refuse(why, "ca", "the system's roots cannot be read (the package ca-certificates)");
    sk_X509_pop_free(list, X509_free);
    return err;
}

/* Our own certificate, for origins that ask. */
static enum tg_err use_credentials(SSL_CTX *ctx, struct tg_str cert, struct tg_str key,
                                   struct tg_tls_problem *why)
{
    struct tg_tls_credentials c;
    enum tg_err err = tg_tls_credentials_read(cert, key, &c, why);
    if (err != TG_OK)
        return err;
    bool used = SSL_CTX_use_cert_and_key(ctx, c.leaf, c.key, c.chain, 1) == 1;
    tg_tls_credentials_release(&c);
    return used ? TG_OK : tg_tls_refuse_weak(why);
}

static enum tg_err build_client(struct tg_tls_context *context,
                                const struct tg_tls_client_options *o, struct tg_tls_problem *why)
{
    context->main = new_ctx(TLS_client_method(), TG_TLS_INTERMEDIATE, o->min_version);
    context->verify = o->verify;
    context->pins = tg_mem_zalloc(TG_MEM_CONFIG, TG_MAX(o->pin_count, 1u), sizeof(*o->pins));
    if (o->name.n > 0)
        context->name = tg_mem_strndup(TG_MEM_CONFIG, o->name.p, o->name.n);
    if (context->main == NULL || context->pins == NULL || (o->name.n > 0 && context->name == NULL))
        return TG_E_NOMEM;
    if (o->pin_count > 0)
        memcpy(context->pins, o->pins, o->pin_count * sizeof(*o->pins));
    context->pin_count = o->pin_count;
    SSL_CTX_set_session_cache_mode(context->main,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    tg_tls_hook_client(context->main);
    enum tg_err err = identify(o, &context->id);
    if (err == TG_OK)
        err = set_trust(context, o, why);
    if (err == TG_OK && o->cert.n > 0)
        err = use_credentials(context->main, o->cert, o->key, why);
    return err;
}

enum tg_err tg_tls_client_new(const struct tg_tls_client_options *options,
                              struct tg_tls_context **out, struct tg_tls_problem *why)
{
    struct tg_tls_context *context = new_context(false);
    if (context == NULL)
        return TG_E_NOMEM;
    enum tg_err err = build_client(context, options, why);
    if (err != TG_OK)
        tg_tls_context_unref(&context);
    else
        *out = context;
    return err;
}
