#include <ares.h>

// From 1.31 on c-ares keeps answers for their time to live unless it is told not to; here the cluster
// decides when a name is asked for again. Gives the option's bit, 0 where there is no such option.
static inline int fl_ares_keep_no_answers(struct ares_options *options) {
#ifdef ARES_OPT_QUERY_CACHE
  options->qcache_max_ttl = 0;
  return ARES_OPT_QUERY_CACHE;
#else
  (void)options;
  return 0;
#endif
}
