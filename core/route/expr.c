/* expr.c: lexer, recursive-descent compiler and evaluator of predicates. See expr.h for the
 * language.
 *
 * The program works on one truth value, `r`:
 *     COMPARE, PRESENT, CALL, CONST   r = ...
 *     NOT                             r = !r
 *     SKIP_IF                         go to `target` when r is `flag`
 * "a and b" is a, SKIP_IF false to the end, b; "a or b" the same with true. No stack is needed,
 * because truths are never compared, and every target lies ahead.
 *
 * The compiler writes into a draft of fixed size on its stack; the finished program is one block:
 * header, instructions, the bytes of all strings. The first error is kept and ends the work: the
 * current token becomes END, so every loop of the parser stops.
 */
#include "base/banned.h"
#include "route/expr.h"

#include "base/assert.h"
#include "base/mem.h"

#define EXPR_MAGIC 0x7e59e59eu

enum token { END, STRING, NUMBER, WORD, COMPARISON, PUNCTUATION };

enum comparison { EQ, NE, LT, LE, GT, GE };

enum function { STARTS_WITH, ENDS_WITH, CONTAINS };

enum operand_kind { TEXT, DECIMAL, FIELD };

struct operand {
    uint8_t kind;
    uint8_t field; /* FIELD: enum tg_expr_field */
    uint16_t n;    /* TEXT: length; FIELD: length of its name */
    uint32_t at;   /* where that stands in the strings */
    union {
        double decimal; /* DECIMAL */
        uint64_t key;   /* FIELD: of a header */
    };
};

enum op { OP_COMPARE, OP_PRESENT, OP_CALL, OP_CONST, OP_NOT, OP_SKIP_IF };

struct instruction {
    uint8_t op;
    uint8_t detail; /* enum comparison or enum function */
    bool flag;      /* OP_CONST: the value; OP_SKIP_IF: the truth that skips */
    uint8_t target;
    struct operand a;
    struct operand b;
};

struct tg_expr {
    uint32_t magic;
    uint32_t count;
    const char *strings; /* behind the instructions */
    struct instruction code[];
};

struct compiler {
    struct tg_str text;
    size_t at;    /* next byte to read */
    size_t start; /* of the current token */
    enum token token;
    struct tg_str word; /* WORD, PUNCTUATION: its bytes */
    enum comparison comparison;
    struct operand literal; /* STRING, NUMBER */
    unsigned depth;
    tg_expr_key *key;
    struct tg_expr_error *error;
    bool failed;
    unsigned count;
    struct instruction code[TG_EXPR_STEPS_MAX];
    struct instruction overflow; /* takes what is written past the end */
    size_t strings_n;
    char strings[TG_EXPR_TEXT_MAX];
};

static void fail_at(struct compiler *c, size_t at, const char *text, const char *hint)
{
    if (!c->failed)
        *c->error = (struct tg_expr_error){text, hint, at + 1};
    c->failed = true;
    c->token = END;
    c->at = c->text.n;
}

static void fail(struct compiler *c, const char *text, const char *hint)
{
    fail_at(c, c->start, text, hint);
}

/* ---- Numbers ------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Length of the decimal number at the start of `s` ("-1", "2.50"), 0 when there is none. */
static size_t scan_number(struct tg_str s, double *out)
{
    bool negative = s.n > 0 && s.p[0] == '-';
    size_t i = negative, first = i;
    double value = 0, unit = 1;
    for (; i < s.n && is_digit(s.p[i]); i++)
        value = value * 10 + (s.p[i] - '0');
    if (i == first)
        return 0;
    if (i + 1 < s.n && s.p[i] == '.' && is_digit(s.p[i + 1])) {
        for (i++; i < s.n && is_digit(s.p[i]); i++) {
            value = value * 10 + (s.p[i] - '0');
            unit *= 10;
        }
    }
    *out = (negative ? -value : value) / unit;
    return i;
}

static bool to_number(struct tg_str s, double *out)
{
    return s.n > 0 && s.n <= 64 && scan_number(s, out) == s.n;
}

/* ---- Lexer --------------------------------------------------------------------------------- */

static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || is_digit(c);
}

static void read_string(struct compiler *c)
{
    char quote = c->text.p[c->at++];
    size_t from = c->strings_n;
    while (c->at < c->text.n && c->text.p[c->at] != quote) {
        char byte = c->text.p[c->at++];
        if (byte == '\\') {
            byte = c->at < c->text.n ? c->text.p[c->at++] : '\0';
            if (byte != '\\' && byte != '"' && byte != '\'') {
                fail_at(c, c->at - 2, "unknown escape", "one of \\\\ \\\" \\'");
                return;
            }
        }
        c->strings[c->strings_n++] = byte;
    }
    if (c->at == c->text.n) {
        fail(c, "the string does not end", "close it with the quote that it began with");
        return;
    }
    c->at++;
    c->token = STRING;
    c->literal =
        (struct operand){.kind = TEXT, .n = (uint16_t)(c->strings_n - from), .at = (uint32_t)from};
}

static void read_comparison(struct compiler *c)
{
    static const struct {
        struct tg_str text;
        enum comparison value;
    } all[] = {{{"==", 2}, EQ}, {{"!=", 2}, NE}, {{"~=", 2}, NE}, {{"<=", 2}, LE},
               {{">=", 2}, GE}, {{"<", 1}, LT},  {{">", 1}, GT}};
    struct tg_str rest = tg_str_sub(c->text, c->at, c->text.n);
    for (size_t i = 0; i < TG_COUNT_OF(all); i++) {
        if (!tg_str_starts(rest, all[i].text))
            continue;
        c->token = COMPARISON;
        c->comparison = all[i].value;
        c->at += all[i].text.n;
        return;
    }
    fail(c, "this does not belong into an expression",
         "operators are == != < <= > >= and or not; equality is ==");
}

static void advance(struct compiler *c)
{
    while (c->at < c->text.n && strchr(" \t\r\n", c->text.p[c->at]) != NULL &&
           c->text.p[c->at] != '\0')
        c->at++;
    c->start = c->at;
    c->token = END;
    if (c->failed || c->at == c->text.n)
        return;
    char first = c->text.p[c->at];
    struct tg_str rest = tg_str_sub(c->text, c->at, c->text.n);
    size_t number_n = scan_number(rest, &c->literal.decimal);
    if (first == '"' || first == '\'') {
        read_string(c);
    } else if (number_n > 0) {
        c->token = NUMBER;
        c->literal.kind = DECIMAL;
        c->at += number_n;
    } else if (is_word_char(first)) {
        while (c->at < c->text.n && is_word_char(c->text.p[c->at]))
            c->at++;
        c->token = WORD;
        c->word = tg_str_sub(c->text, c->start, c->at);
    } else if (strchr("()[],.", first) != NULL && first != '\0') {
        c->token = PUNCTUATION;
        c->word = tg_str_sub(rest, 0, 1);
        c->at++;
    } else {
        read_comparison(c);
    }
}

static bool is_word(const struct compiler *c, const char *word)
{
    return c->token == WORD && tg_str_eq(c->word, tg_str_c(word));
}

static bool is_mark(const struct compiler *c, char mark)
{
    return c->token == PUNCTUATION && *c->word.p == mark;
}

static void expect(struct compiler *c, char mark, const char *text, const char *hint)
{
    if (is_mark(c, mark))
        advance(c);
    else
        fail(c, text, hint);
}

/* ---- Compiler ------------------------------------------------------------------------------ */

static struct instruction *emit(struct compiler *c, enum op op)
{
    if (c->count == TG_EXPR_STEPS_MAX) {
        fail(c, "the expression is too long", "split it, or decide in the plugin");
        return &c->overflow;
    }
    c->code[c->count] = (struct instruction){.op = (uint8_t)op};
    return &c->code[c->count++];
}

static const char field_hint[] = "fields are method, path, host, scheme, client.ip, header.NAME, "
                                 "query.NAME; functions are starts_with, ends_with, contains";

/* What follows the dot: letters, digits, _ and -, which no operator uses. */
static void read_dotted_name(struct compiler *c, struct operand *out)
{
    size_t from = c->at;
    while (c->at < c->text.n && (is_word_char(c->text.p[c->at]) || c->text.p[c->at] == '-'))
        c->at++;
    out->n = (uint16_t)(c->at - from);
    out->at = (uint32_t)c->strings_n;
    memcpy(c->strings + c->strings_n, c->text.p + from, out->n);
    c->strings_n += out->n;
    if (out->n == 0)
        fail_at(c, from, "a name is missing", "write it as in header.accept or header[\"x-name\"]");
    advance(c);
}

/* ".name" or ["name"] behind header and query. */
static void parse_field_name(struct compiler *c, struct operand *out)
{
    if (is_mark(c, '.')) {
        read_dotted_name(c, out);
    } else if (is_mark(c, '[')) {
        advance(c);
        out->n = c->literal.n;
        out->at = c->literal.at;
        if (c->token != STRING || out->n == 0)
            fail(c, "expected a name in quotes", "write it as in header[\"x-name\"]");
        advance(c);
        expect(c, ']', "expected ]", "write it as in header[\"x-name\"]");
    } else {
        fail(c, "expected the name of a field", "write it as in header.accept, header[\"x-name\"]");
    }
    if (out->field == TG_EXPR_HEADER && !c->failed) {
        for (size_t i = 0; i < out->n; i++)
            c->strings[out->at + i] = tg_char_lower(c->strings[out->at + i]);
        if (c->key != NULL)
            out->key = c->key(tg_str(c->strings + out->at, out->n));
    }
}

static void parse_field(struct compiler *c, struct operand *out)
{
    static const char *const plain[] = {"method", "path", "host", "scheme"};
    out->kind = FIELD;
    out->n = 0;
    out->key = 0;
    for (unsigned i = 0; i < TG_COUNT_OF(plain); i++) {
        if (!is_word(c, plain[i]))
            continue;
        out->field = (uint8_t)(TG_EXPR_METHOD + i);
        advance(c);
        return;
    }
    if (is_word(c, "client")) {
        advance(c);
        expect(c, '.', "expected client.ip", field_hint);
        if (!is_word(c, "ip"))
            fail(c, "expected client.ip", field_hint);
        out->field = TG_EXPR_CLIENT_IP;
        advance(c);
    } else if (is_word(c, "header") || is_word(c, "query")) {
        out->field = is_word(c, "header") ? TG_EXPR_HEADER : TG_EXPR_QUERY;
        advance(c);
        parse_field_name(c, out);
    } else {
        fail(c, "unknown name", field_hint);
    }
}

/* An operand of a comparison or a function: a literal or a field. */
static void parse_value(struct compiler *c, struct operand *out)
{
    *out = c->literal;
    if (c->token == STRING || c->token == NUMBER)
        advance(c);
    else if (c->token == WORD)
        parse_field(c, out);
    else
        fail(c, "expected a value", field_hint);
}

static void parse_argument(struct compiler *c, struct operand *out)
{
    size_t start = c->start;
    parse_value(c, out);
    if (!c->failed && out->kind == DECIMAL)
        fail_at(c, start, "expected a string or a field", "put the number into quotes");
}

static void parse_call(struct compiler *c, enum function function)
{
    static const char hint[] = "write it as in starts_with(path, \"/api/\")";
    struct operand a = {.kind = TEXT}, b = {.kind = TEXT};
    advance(c);
    expect(c, '(', "expected (", hint);
    parse_argument(c, &a);
    expect(c, ',', "expected a comma", hint);
    parse_argument(c, &b);
    expect(c, ')', "expected )", hint);
    struct instruction *in = emit(c, OP_CALL);
    in->detail = (uint8_t)function;
    in->a = a;
    in->b = b;
}

/* A value, alone or compared with another. */
static void parse_comparison(struct compiler *c)
{
    struct operand a, b;
    size_t start = c->start;
    parse_value(c, &a);
    if (c->token != COMPARISON) {
        if (a.kind != FIELD)
            fail_at(c, start, "a string or number alone is neither true nor false",
                    "compare it with something");
        emit(c, OP_PRESENT)->a = a;
        return;
    }
    enum comparison comparison = c->comparison;
    start = c->start;
    advance(c);
    parse_value(c, &b);
    if (a.kind != b.kind && a.kind != FIELD && b.kind != FIELD)
        fail_at(c, start, "a string cannot be compared with a number", "give both the same type");
    struct instruction *in = emit(c, OP_COMPARE);
    in->detail = (uint8_t)comparison;
    in->a = a;
    in->b = b;
}

static void parse_or(struct compiler *c);

/* What stands below `not`: a truth of its own. */
static void parse_primary(struct compiler *c)
{
    static const char *const functions[] = {"starts_with", "ends_with", "contains"};
    for (unsigned i = 0; i < TG_COUNT_OF(functions); i++) {
        if (is_word(c, functions[i])) {
            parse_call(c, (enum function)i);
            return;
        }
    }
    if (is_word(c, "true") || is_word(c, "false")) {
        emit(c, OP_CONST)->flag = is_word(c, "true");
        advance(c);
    } else if (is_mark(c, '(')) {
        advance(c);
        parse_or(c);
        expect(c, ')', "expected )", "close the parenthesis");
    } else {
        parse_comparison(c);
    }
    if (c->token == COMPARISON)
        fail(c, "only strings, numbers and fields can be compared",
             "join truths with and, or, not");
}

static void parse_not(struct compiler *c)
{
    if (++c->depth > TG_EXPR_DEPTH_MAX)
        fail(c, "nested too deeply", "at most 32 parentheses and nots inside each other");
    if (is_word(c, "not")) {
        advance(c);
        parse_not(c);
        emit(c, OP_NOT);
    } else {
        parse_primary(c);
    }
    c->depth--;
}

/* `part` joined by `word`; a truth of `decided` settles the whole. */
static void parse_chain(struct compiler *c, const char *word, bool decided,
                        void (*part)(struct compiler *c))
{
    unsigned skips[TG_EXPR_STEPS_MAX], count = 0;
    part(c);
    while (is_word(c, word)) {
        advance(c);
        skips[count++] = c->count;
        emit(c, OP_SKIP_IF)->flag = decided;
        part(c);
        if (c->failed)
            return;
    }
    while (count > 0)
        c->code[skips[--count]].target = (uint8_t)c->count;
}

static void parse_and(struct compiler *c)
{
    parse_chain(c, "and", false, parse_not);
}

static void parse_or(struct compiler *c)
{
    parse_chain(c, "or", true, parse_and);
}

static enum tg_err finish(const struct compiler *c, struct tg_expr **out)
{
    size_t code_size = c->count * sizeof(c->code[0]);
    struct tg_expr *expr = tg_mem_alloc(TG_MEM_CONFIG, sizeof(*expr) + code_size + c->strings_n);
    if (expr == NULL)
        return TG_E_NOMEM;
    char *strings = (char *)expr->code + code_size;
    expr->magic = EXPR_MAGIC;
    expr->count = c->count;
    expr->strings = strings;
    memcpy(expr->code, c->code, code_size);
    memcpy(strings, c->strings, c->strings_n);
    *out = expr;
    return TG_OK;
}

enum tg_err tg_expr_new(struct tg_str text, tg_expr_key *key, struct tg_expr **out,
                        struct tg_expr_error *error)
{
    struct compiler c;
    c.text = text;
    c.key = key;
    c.at = c.start = 0;
    c.literal = (struct operand){.kind = TEXT};
    c.depth = c.count = 0;
    c.strings_n = 0;
    c.error = error;
    c.failed = false;
    if (text.n > TG_EXPR_TEXT_MAX)
        fail_at(&c, TG_EXPR_TEXT_MAX, "longer than 2048 bytes", "shorten it");
    advance(&c);
    parse_or(&c);
    if (!c.failed && c.token != END)
        fail(&c, "the expression should end here", "join conditions with and, or");
    return c.failed ? TG_E_INVALID : finish(&c, out);
}

void tg_expr_free(struct tg_expr **exprp)
{
    struct tg_expr *expr = *exprp;
    if (expr == NULL)
        return;
    tg_magic_check(expr, EXPR_MAGIC);
    expr->magic = 0;
    tg_mem_free(TG_MEM_CONFIG, expr);
    *exprp = NULL;
}

/* ---- Evaluator ----------------------------------------------------------------------------- */

struct evaluation {
    const struct tg_expr *expr;
    tg_expr_fetch *fetch;
    void *arg;
};

static struct tg_str string_of(const struct evaluation *e, const struct operand *o)
{
    return tg_str(e->expr->strings + o->at, o->n);
}

/* The text of a string or field; false when the request has no such field. */
static bool get_text(const struct evaluation *e, const struct operand *o, struct tg_str *out)
{
    *out = string_of(e, o);
    return o->kind != FIELD || e->fetch(e->arg, (enum tg_expr_field)o->field, *out, o->key, out);
}

static bool get_number(const struct evaluation *e, const struct operand *o, double *out)
{
    struct tg_str text;
    *out = o->decimal;
    return o->kind == DECIMAL || (get_text(e, o, &text) && to_number(text, out));
}

static int order_texts(struct tg_str a, struct tg_str b)
{
    size_t n = TG_MIN(a.n, b.n);
    int order = n > 0 ? memcmp(a.p, b.p, n) : 0;
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

static bool holds(enum comparison comparison, int order)
{
    switch (comparison) {
    case EQ:
        return order == 0;
    case NE:
        return order != 0;
    case LT:
        return order < 0;
    case LE:
        return order <= 0;
    case GT:
        return order > 0;
    case GE:
        return order >= 0;
    }
    return false;
}

static bool compare(const struct evaluation *e, const struct instruction *in)
{
    enum comparison comparison = (enum comparison)in->detail;
    if (in->a.kind == DECIMAL || in->b.kind == DECIMAL) {
        double a, b;
        if (!get_number(e, &in->a, &a) || !get_number(e, &in->b, &b))
            return comparison == NE;
        return holds(comparison, (a > b) - (a < b));
    }
    struct tg_str a, b;
    if (!get_text(e, &in->a, &a) || !get_text(e, &in->b, &b))
        return comparison == NE;
    return holds(comparison, order_texts(a, b));
}

static bool call(const struct evaluation *e, const struct instruction *in)
{
    struct tg_str a, b;
    if (!get_text(e, &in->a, &a) || !get_text(e, &in->b, &b))
        return false;
    if (b.n == 0 || b.n > a.n)
        return b.n == 0;
    switch ((enum function)in->detail) {
    case STARTS_WITH:
        return memcmp(a.p, b.p, b.n) == 0;
    case ENDS_WITH:
        return memcmp(a.p + a.n - b.n, b.p, b.n) == 0;
    case CONTAINS:
        return memmem(a.p, a.n, b.p, b.n) != NULL;
    }
    return false;
}

bool tg_expr_test(const struct tg_expr *expr, tg_expr_fetch *fetch, void *arg)
{
    struct evaluation e = {expr, fetch, arg};
    struct tg_str ignored;
    bool r = false;
    tg_magic_check(expr, EXPR_MAGIC);
    for (uint32_t i = 0; i < expr->count;) {
        const struct instruction *in = &expr->code[i++];
        switch ((enum op)in->op) {
        case OP_COMPARE:
            r = compare(&e, in);
            break;
        case OP_PRESENT:
            r = get_text(&e, &in->a, &ignored);
            break;
        case OP_CALL:
            r = call(&e, in);
            break;
        case OP_CONST:
            r = in->flag;
            break;
        case OP_NOT:
            r = !r;
            break;
        case OP_SKIP_IF:
            i = r == in->flag ? in->target : i;
            break;
        }
    }
    return r;
}
