/* list.h: intrusive doubly linked list, circular with a head that is no element.
 *
 * The list owns nothing: a node is embedded in the object it links, an object is in at most one
 * list per node. tg_list_remove() on a node that is in no list is allowed once tg_list_init() ran.
 */
#ifndef TG_BASE_LIST_H
#define TG_BASE_LIST_H

#include "base/defs.h"

struct tg_list {
    struct tg_list *next;
    struct tg_list *prev;
};

static inline void tg_list_init(struct tg_list *list)
{
    list->next = list;
    list->prev = list;
}

static inline bool tg_list_is_empty(const struct tg_list *list)
{
    return list->next == list;
}

static inline void tg_list_insert_after(struct tg_list *at, struct tg_list *node)
{
    node->prev = at;
    node->next = at->next;
    at->next->prev = node;
    at->next = node;
}

/* First in the list. */
static inline void tg_list_push_front(struct tg_list *list, struct tg_list *node)
{
    tg_list_insert_after(list, node);
}

/* Last in the list. */
static inline void tg_list_push_back(struct tg_list *list, struct tg_list *node)
{
    tg_list_insert_after(list->prev, node);
}

/* Takes `node` out of the list it is in, if any, and leaves it ready for another. */
static inline void tg_list_remove(struct tg_list *node)
{
    node->next->prev = node->prev;
    node->prev->next = node->next;
    tg_list_init(node);
}

#define TG_LIST_ENTRY(node, type, member) TG_CONTAINER_OF(node, type, member)

/* Walks all nodes; the body may remove `it` (and only `it`). */
#define TG_LIST_FOREACH(list, it)                                                                  \
    for (struct tg_list *it = (list)->next, *it##_next = it->next; it != (list);                   \
         it = it##_next, it##_next = it->next)

#endif
