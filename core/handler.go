package core

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// HandlerID names a handler, such as "storage.stat": 1 to 255 bytes, none of them
// zero, compared byte by byte. An incompatible change of a handler is a new id beside the old
// one ("storage.stat2"); there are no versions.
type HandlerID string

// HandlerFunc serves a single request. req belongs to the handler until it
// returns; the result may be req or a part of it, and is copied before the
// handler's place is given back (see WithConcurrency). Nil and empty slices are
// told apart in both directions.
//
// ctx ends when the caller gives up, its deadline passes or the connection is
// lost, and at the latest when the handler has returned; [PeerFromContext]
// tells the caller's name. An error travels as a [RemoteError]; a panic becomes
// one for this call alone.
type HandlerFunc func(ctx context.Context, req []byte) ([]byte, error)

// AppendFunc is a HandlerFunc that appends its result to dst, a buffer of the
// library, and so needs no memory of its own.
type AppendFunc = func(ctx context.Context, req, dst []byte) ([]byte, error)

// handler is a registered handler. It is immutable but for running.
type handler struct {
	id      HandlerID
	route   string
	fn      HandlerFunc // one of fn, app and stream is set
	app     AppendFunc
	stream  StreamFunc
	inline  bool
	limit   int32                       // handlers at once; 0: no limit of its own
	timeout time.Duration               // for calls without a deadline; 0: none
	allow   func(caller Identity) error // who may call it; nil: everybody

	inCapacity, outCapacity int          // of a stream
	listener                *netListener // that its streams are for; nil: none

	compress  [directions]*compressor // nil: nothing is said
	threshold int32                   // of compression; 0: the default
	window    bool                    // messages of a stream share one
	flows     atomic.Pointer[handlerFlows]

	running atomic.Int32
	// hints are the recent sizes of results, for app's buffer: of small requests
	// and of large ones, since a large request often has a large answer.
	hints [2]sizeHint
}

const (
	// maxHint is the largest buffer that a HandleAppend is given.
	maxHint = 16 << 20
	// freeHint is the largest one that needs no reservation: one that a handler
	// does not use may be large only as long as few are.
	freeHint = 64 << 10
)

// hint is what is known of the size of the answer to a request of n bytes.
func (h *handler) hint(n int) *sizeHint {
	if n > maxSmall {
		return &h.hints[1]
	}
	return &h.hints[0]
}

// sizeHint is how many bytes results have lately had. The buffers of results up to
// maxSmall are as large as the largest of them; those of larger ones about as most
// of them.
type sizeHint struct{ bytes atomic.Int32 }

// note takes the size of a result into account.
func (s *sizeHint) note(n int) {
	old := s.bytes.Load()
	size := int32(min(n, maxHint))
	switch {
	case size <= old && old > maxSmall:
		size = max(old-(old-size)/8, maxSmall)
	case size > maxSmall:
		size = old + (size-old+1)/2
	}
	if size > old || old > maxSmall {
		s.bytes.Store(size)
	}
}

// registry holds the handlers of a Manager: written until it is sealed by
// Start, only read after that.
type registry struct {
	mu     sync.Mutex
	sealed bool
	byHash map[uint64]*handler
}

// handlerKey is what a handler is found by: its id and its route.
type handlerKey struct {
	id    HandlerID
	route string
}

// hash is the key's name on the wire (W25).
func (k handlerKey) hash() uint64 {
	sum := sha256.Sum256([]byte(string(k.id) + "\x00" + k.route))
	return binary.LittleEndian.Uint64(sum[:])
}

func (k handlerKey) String() string {
	if k.route == "" {
		return fmt.Sprintf("%q", string(k.id))
	}
	return fmt.Sprintf("%q on route %q", string(k.id), k.route)
}

// errZeroByte: a zero byte ends the id where it is hashed with its route.
var errZeroByte = errors.New("the handler id contains a zero byte: use text")

func hasZero(id HandlerID) bool { return strings.IndexByte(string(id), 0) >= 0 }

// hashCache remembers the hashes of the handlers that are called. It is bounded
// since routes may be made from data.
type hashCache struct {
	mu sync.Mutex
	m  atomic.Pointer[map[handlerKey]uint64]
}

const maxCachedHashes = 4096

func (c *hashCache) hash(k handlerKey) uint64 {
	if m := c.m.Load(); m != nil {
		if h, ok := (*m)[k]; ok {
			return h
		}
	}
	h := k.hash()
	if m := c.m.Load(); m != nil && len(*m) >= maxCachedHashes {
		return h
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.m.Load()
	next := map[handlerKey]uint64{k: h}
	if old != nil {
		maps.Copy(next, *old)
	}
	c.m.Store(&next)
	return h
}

// Handle registers the handler of single requests for id. It is an error after
// Start, for an id and route that are taken or whose hash collides with
// another's, and for a nil function.
func (m *Manager) Handle(id HandlerID, fn HandlerFunc, opts ...HandlerOption) error {
	if fn == nil {
		return handleError(id, errors.New("the function is nil: pass a HandlerFunc"))
	}
	return m.register(&handler{id: id, fn: fn}, opts)
}

// HandleAppend registers like [Manager.Handle] a handler that appends its
// result to dst, whose length is 0, and returns the extended slice. It is the
// form that allocates nothing. dst must not be kept.
func (m *Manager) HandleAppend(id HandlerID, fn func(ctx context.Context, req, dst []byte) ([]byte, error), opts ...HandlerOption) error {
	if fn == nil {
		return handleError(id, errors.New("the function is nil: pass one that appends to dst"))
	}
	return m.register(&handler{id: id, app: fn}, opts)
}

func handleError(id HandlerID, err error) error {
	return fmt.Errorf("gridmux: Handle %q: %w", string(id), err)
}

func (m *Manager) register(h *handler, opts []HandlerOption) error {
	if m == nil || m.handlers == nil {
		return handleError(h.id, errNoManager)
	}
	if n := len(h.id); n == 0 || n > maxHandlerID {
		return handleError(h.id, fmt.Errorf("the id has %d bytes: use 1 to %d", n, maxHandlerID))
	}
	if hasZero(h.id) {
		return handleError(h.id, errZeroByte)
	}
	if strings.HasPrefix(string(h.id), builtinPrefix) {
		return handleError(h.id, fmt.Errorf("ids that begin with %q belong to the library: use another one", builtinPrefix))
	}
	for _, o := range opts {
		if o == nil {
			return handleError(h.id, errors.New("an option is nil: leave it out"))
		}
		if err := o.applyHandler(h); err != nil {
			return handleError(h.id, err)
		}
	}
	if h.listener != nil && h.inCapacity == 0 {
		return handleError(h.id, errNoBytesIn)
	}
	if err := h.checkWindow(); err != nil {
		return handleError(h.id, err)
	}
	findWindows(h.compress[:])
	return m.handlers.add(h, &m.codecs)
}

// add adds a handler, and what it compresses with to the codecs: both, or with an
// error neither.
func (r *registry) add(h *handler, codecs *codecTable) error {
	key := handlerKey{h.id, h.route}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sealed {
		return handleError(h.id, errors.New("the Manager has been started: register handlers before Start"))
	}
	hash := key.hash()
	if old := r.byHash[hash]; old != nil {
		if old.id == h.id && old.route == h.route {
			return handleError(h.id, fmt.Errorf("%v is registered already: use another id or WithRoute", key))
		}
		return handleError(h.id, fmt.Errorf("%v has the same hash as %v: rename one of them", key, handlerKey{old.id, old.route}))
	}
	if err := codecs.add(h.compress[:]...); err != nil {
		return handleError(h.id, err)
	}
	r.byHash[hash] = h
	return nil
}

// seal ends registration; from then on lookup needs no lock.
func (r *registry) seal() {
	r.mu.Lock()
	r.sealed = true
	r.mu.Unlock()
}
