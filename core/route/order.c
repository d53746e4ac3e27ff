/* order.c: see order.h. */
#include "base/banned.h"
#include "route/order.h"

#include "base/mem.h"
#include "route/items.h"

static int compare_ranks(const void *xp, const void *yp)
{
    const struct tg_route_item *x = *(const struct tg_route_item *const *)xp;
    const struct tg_route_item *y = *(const struct tg_route_item *const *)yp;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

static void tell(const struct tg_route_builder *b, const struct tg_route_item *item,
                 tg_route_on_listing *on_listing, void *arg)
{
    const struct tg_route_record *routes = (const void *)b->routes.p;
    struct tg_route_listing listing = {
        .handle = routes[item->route].handle,
        .priority = routes[item->route].priority,
        .host = tg_str(b->texts.p + item->host_text, item->host_text_n),
        .path = tg_str(b->texts.p + item->path, item->path_n),
        .auto_head = item->method_class == TG_ROUTE_METHODS_AUTO_HEAD,
    };
    on_listing(arg, &listing);
}

enum tg_err tg_route_order(const struct tg_route_builder *b, tg_route_on_listing *on_listing,
                           void *arg)
{
    const struct tg_route_item *items = (const void *)b->items.p;
    size_t count = b->items.n / sizeof(*items);
    const struct tg_route_item **order =
        tg_mem_alloc(TG_MEM_CONFIG, (count + 1) * sizeof(const struct tg_route_item *));
    if (order == NULL)
        return TG_E_NOMEM;
    for (size_t i = 0; i < count; i++)
        order[i] = &items[i];
    qsort(order, count, sizeof(const struct tg_route_item *), compare_ranks);
    for (size_t i = 0; i < count; i++)
        tell(b, order[i], on_listing, arg);
    tg_mem_free(TG_MEM_CONFIG, order);
    return TG_OK;
}
