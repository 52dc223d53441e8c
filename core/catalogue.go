package core

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// builtinPrefix begins the ids of handlers that belong to the library.
const builtinPrefix = "gridmux."

// catalogueID is the handler that answers with the catalogue of its node (W54).
const catalogueID HandlerID = builtinPrefix + "catalogue"

// catalogueEntry is the size of one handler in a catalogue: hash, kind,
// capacities (W85), codec (W95).
const catalogueEntry = 18

// Kinds of handlers in a catalogue.
const (
	singleHandler byte = 1
	streamHandler byte = 2
	// windowWish is no handler: it says of that of streams with the same hash that
	// the messages of its callers shall share windows.
	windowWish byte = 3
)

// catalogue is which handlers a node has.
type catalogue struct {
	digest  [wire.DigestSize]byte
	entries map[uint64]handlerEntry
	windows map[uint64]bool // handlers whose callers' messages shall share windows
}

// handlerEntry is what is known of a handler of another node.
type handlerEntry struct {
	kind                    byte // 0: there is none
	inCapacity, outCapacity int  // of a stream
	codec                   byte // number of that of its requests, in the lists of its node; 0: none
}

// catalogues remembers the catalogues of other nodes by their digests. Most
// nodes of a cluster have the same.
type catalogues struct {
	mu       sync.Mutex
	byDigest map[[wire.DigestSize]byte]*catalogue
	entries  int // in all of them
}

const (
	// maxCatalogues bounds how many are remembered.
	maxCatalogues = 64
	// maxEntries bounds the handlers of one, and those of all that are
	// remembered: a peer cannot fill the memory with handlers that it says it has.
	maxEntries = 1 << 16
	// maxCatalogueSize is that of the largest catalogue. It may be over
	// Config.MaxMessage, of which whoever registers handlers need not think (W54).
	maxCatalogueSize = maxEntries * catalogueEntry
)

func (c *catalogues) find(digest [wire.DigestSize]byte) *catalogue {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byDigest[digest]
}

func (c *catalogues) add(known *catalogue) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byDigest[known.digest] != nil {
		return
	}
	if c.byDigest == nil || len(c.byDigest) >= maxCatalogues || c.entries+len(known.entries)+len(known.windows) > maxEntries {
		c.byDigest, c.entries = map[[wire.DigestSize]byte]*catalogue{}, 0
	}
	c.byDigest[known.digest] = known
	c.entries += len(known.entries) + len(known.windows)
}

// addBuiltin registers the handlers that every node has.
func (m *Manager) addBuiltin() error {
	return m.handlers.add(&handler{id: catalogueID, inline: true, app: func(_ context.Context, _, dst []byte) ([]byte, error) {
		return m.appendCatalogue(dst), nil
	}}, &m.codecs)
}

// appendCatalogue appends the entries of the user's handlers, in the order of
// their hashes.
func (m *Manager) appendCatalogue(dst []byte) []byte {
	r, codecs := m.handlers, m.codecs.set.Load()
	for _, hash := range slices.Sorted(maps.Keys(r.byHash)) {
		h := r.byHash[hash]
		if strings.HasPrefix(string(h.id), builtinPrefix) {
			continue
		}
		kind := singleHandler
		if h.stream != nil {
			kind = streamHandler
		}
		dst = append(binary.LittleEndian.AppendUint64(dst, hash), kind)
		dst = binary.LittleEndian.AppendUint32(dst, uint32(h.inCapacity))
		dst = binary.LittleEndian.AppendUint32(dst, uint32(h.outCapacity))
		var codec byte
		if c := h.compress[toHandler]; c != nil && c != notCompressed {
			codec = codecs.number(c.name)
		}
		dst = append(dst, codec)
		if h.window && codec != 0 {
			dst = append(binary.LittleEndian.AppendUint64(dst, hash), windowWish)
			dst = append(dst, make([]byte, catalogueEntry-9)...)
		}
	}
	return dst
}

// digest is the fingerprint of the catalogue.
func (m *Manager) digest() [wire.DigestSize]byte { return sha256.Sum256(m.appendCatalogue(nil)) }

func parseCatalogue(b []byte) (*catalogue, error) {
	if len(b)%catalogueEntry != 0 || len(b) > maxCatalogueSize {
		return nil, fmt.Errorf("a catalogue of %d bytes", len(b))
	}
	c := &catalogue{digest: sha256.Sum256(b), entries: make(map[uint64]handlerEntry, len(b)/catalogueEntry)}
	for ; len(b) > 0; b = b[catalogueEntry:] {
		e := handlerEntry{
			kind:        b[8],
			inCapacity:  int(min(binary.LittleEndian.Uint32(b[9:]), limitCapacity)),
			outCapacity: int(min(binary.LittleEndian.Uint32(b[13:]), limitCapacity)),
			codec:       b[17],
		}
		hash := binary.LittleEndian.Uint64(b)
		switch e.kind {
		case singleHandler, streamHandler:
			c.entries[hash] = e
		case windowWish:
			if c.windows == nil {
				c.windows = map[uint64]bool{}
			}
			c.windows[hash] = true
		}
	}
	return c, nil
}

// Handles reports whether the peer has a handler h, so that a program can find
// out when it starts, and not at the first call, that the other side forgot to
// register one or is too old to have it. It asks the peer at most once as long
// as its handlers are the same, and otherwise answers at once, whatever ctx says; in a
// cluster whose nodes have more than 64 different sets of handlers it may ask again. The
// options are those of a call.
//
// The answer is advice: between it and a call the peer may have been replaced.
func (c *Connection) Handles(ctx context.Context, h HandlerID, opts ...CallOption) (bool, error) {
	return c.handles(ctx, handlerKey{id: h}, opts)
}

// Handles is [Connection.Handles] on the route.
func (r Route) Handles(ctx context.Context, h HandlerID, opts ...CallOption) (bool, error) {
	return r.c.handles(ctx, handlerKey{h, r.name}, opts)
}

func (c *Connection) handles(ctx context.Context, key handlerKey, opts []CallOption) (bool, error) {
	if c = c.resolve(); c != nil {
		if s := c.current.Load(); s != nil {
			if known := c.m.catalogues.find(s.catalogue); known != nil {
				return known.entry(key).kind != 0, nil
			}
		}
	}
	// Whatever the options say, it belongs to the first lane (W93).
	opts = append(slices.Clip(opts), WithPriority(PriorityNormal))
	b, err := c.request(ctx, handlerKey{id: catalogueID}, nil, nil, opts)
	if err != nil {
		return false, err
	}
	known, err := c.m.learnCatalogue(b)
	if err != nil {
		return false, &CallError{Peer: c.Peer(), Handler: catalogueID, Err: err}
	}
	return known.entry(key).kind != 0, nil
}

func (m *Manager) learnCatalogue(b []byte) (*catalogue, error) {
	known, err := parseCatalogue(b)
	if err == nil {
		m.catalogues.add(known)
	}
	return known, err
}

// announceHandlers makes the catalogue of this node, which peers are told, that of the
// loopback too.
func (m *Manager) announceHandlers() error {
	own := m.appendCatalogue(nil)
	if n := len(own) / catalogueEntry; n > maxEntries {
		return fmt.Errorf("the handlers take %d entries of the catalogue, which has %d: register fewer, such as one for many routes",
			n, maxEntries)
	}
	_, err := m.learnCatalogue(own)
	return err
}

// handlersOf returns the catalogue of the peer of a session, and asks for it if
// nobody has yet, until ctx or the time of the call is over; 0 means that it has
// none.
func (s *session) handlersOf(ctx context.Context, deadline int64) (*catalogue, error) {
	if known := s.m.catalogues.find(s.catalogue); known != nil {
		s.takeWishes(known) // another session may have learned it
		return known, nil
	}
	key := handlerKey{id: catalogueID}
	res := s.roundTrip(ctx, key, key.hash(), nil, nil, deadline, callSettings{})
	if res.err != nil {
		return nil, fmt.Errorf("which handlers the peer has: %w", res.err)
	}
	known, err := s.m.learnCatalogue(res.resp)
	if err == nil && known.digest != s.catalogue && s.catalogue != ([wire.DigestSize]byte{}) {
		err = errOtherCatalogue
	}
	if err == nil {
		s.takeWishes(known)
	}
	return known, err
}

var errOtherCatalogue = errors.New("the peer has other handlers than it has announced")

// learnHandlers asks for the catalogue of the peer if it is new, so that it is
// known when the first stream is opened.
func (s *session) learnHandlers() {
	if s.catalogue == ([wire.DigestSize]byte{}) {
		return
	}
	if known := s.m.catalogues.find(s.catalogue); known != nil {
		s.takeWishes(known)
		return
	}
	if !s.learning.CompareAndSwap(false, true) {
		return // it may never answer
	}
	s.m.spawn(func() {
		defer s.learning.Store(false)
		_, _ = s.handlersOf(s.link.draining, 0) // a drain does not wait for an answer that nobody needs
	})
}

func (c *catalogue) entry(key handlerKey) handlerEntry { return c.entries[key.hash()] }
