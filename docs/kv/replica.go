package main

import (
	"maps"
	"slices"
	"strings"
	"sync"
)

// replica is what one node holds, in memory: it forgets all when its process ends.
// A node that is to be trusted after a restart writes to a disk before apply
// returns. Values are shared with whoever gets them, and never changed.
type replica struct {
	mu       sync.Mutex
	clock    uint64 // the highest version seen or given
	entries  map[string]Entry
	watchers map[*watcher]struct{}
}

// watcher collects which keys have changed, not how: what waits for a slow client
// is bounded by the number of keys.
type watcher struct {
	prefix  string
	changed chan struct{}       // holds a token while keys is not empty
	keys    map[string]struct{} // guarded by the mu of the replica
}

func newReplica() *replica {
	return &replica{entries: map[string]Entry{}, watchers: map[*watcher]struct{}{}}
}

// get returns the entry of a key, of version 0 if there is none.
func (r *replica) get(key string) Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.entries[key]
}

// nextVersion returns a version above seen and above all that this node has given.
func (r *replica) nextVersion(seen uint64) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock = max(r.clock, seen) + 1
	return r.clock
}

// apply keeps e unless the replica has a newer one: entries may come in any order,
// and any number of times.
func (r *replica) apply(e Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock = max(r.clock, e.Version)
	if known := r.entries[e.Key]; e.compare(&known) <= 0 {
		return
	}
	r.entries[e.Key] = e
	for w := range r.watchers {
		if strings.HasPrefix(e.Key, w.prefix) {
			w.note(e.Key)
		}
	}
}

// watch returns a watcher of the keys with a prefix, for which all that are there
// have just changed. It must be ended by unwatch.
func (r *replica) watch(prefix string) *watcher {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := &watcher{prefix: prefix, changed: make(chan struct{}, 1), keys: map[string]struct{}{}}
	for key := range r.entries {
		if strings.HasPrefix(key, prefix) {
			w.note(key)
		}
	}
	r.watchers[w] = struct{}{}
	return w
}

func (r *replica) unwatch(w *watcher) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.watchers, w)
}

// take returns, in the order of their keys, the entries that have changed since it
// was called last.
func (r *replica) take(w *watcher) []Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	var entries []Entry
	for _, key := range slices.Sorted(maps.Keys(w.keys)) {
		entries = append(entries, r.entries[key])
	}
	clear(w.keys)
	return entries
}

// note is called with the lock of the replica held.
func (w *watcher) note(key string) {
	w.keys[key] = struct{}{}
	select {
	case w.changed <- struct{}{}:
	default: // it knows already that there is something
	}
}
