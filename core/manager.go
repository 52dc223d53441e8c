package core

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport"
)

// Manager is a node's place in the cluster: it knows itself and its peers,
// serves the handlers that were registered with it, and holds one [Connection]
// to every peer. Make it with [NewManager], register handlers, then Start it.
// All methods may be called from any goroutine, handlers included.
type Manager struct {
	cfg        Config
	transports []transport.Transport // of Config.Transport, the preferred one first
	encrypts   atomic.Bool           // one of them speaks TLS
	instance   [wire.InstanceSize]byte
	epoch      time.Time // zero of the manager's clock
	handlers   *registry
	hashes     hashCache
	local      *Connection
	peersMu    sync.Mutex // serializes changes of members
	members    atomic.Pointer[members]
	usages     map[string]*usage // by name; guarded by peersMu
	changes    lockedEvent       // of the state of any peer
	pool       pool
	seed       [32]byte // of all that is random but no secret

	strangers strangers

	// Shared by the contexts of all handlers.
	slab       atomic.Pointer[contextSlab]
	closedChan chan struct{}
	finished   *contextState

	handlersRunning atomic.Int32
	draining        atomic.Bool
	promised        atomic.Int32  // connections that are sessions for the peer, maybe, and not yet here
	drained         chan struct{} // capacity 1: something may have come to rest

	//nolint:containedctx // It is the life of the manager's goroutines, ended by Close.
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // goroutines that run no user code

	mu        sync.Mutex
	started   bool
	closed    bool
	listeners []transport.Listener // by rank of the transport
	sessions  map[*session]struct{}
	attached  uint64        // sessions so far
	finish    chan struct{} // closed when Close is through

	catalogues catalogues
	codecs     codecTable
	flows      flowTable
	packing    codecTurns
	unpacking  codecTurns

	refusalLogged  time.Time // when logRefusal wrote its last line
	refusalsMissed int       // refusals since then
}

// NewManager checks the configuration and makes a Manager. It does no I/O and
// starts no goroutine. Its errors name the field and the remedy.
func NewManager(cfg Config) (*Manager, error) {
	if err := cfg.normalize(); err != nil {
		return nil, err
	}
	m := &Manager{
		cfg:        cfg,
		transports: transportsOf(cfg.Transport),
		epoch:      time.Now(),
		handlers:   &registry{byHash: map[uint64]*handler{}},
		closedChan: make(chan struct{}),
		drained:    make(chan struct{}, 1),
		sessions:   map[*session]struct{}{},
		usages:     map[string]*usage{},
		finish:     make(chan struct{}),
		packing:    newCodecTurns(),
		unpacking:  newCodecTurns(),
	}
	close(m.closedChan)
	m.finished = &contextState{done: m.closedChan, err: context.Canceled, returned: true}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	_, _ = rand.Read(m.instance[:])
	_, _ = rand.Read(m.seed[:])
	m.codecs.set.Store(new(codecSet))
	for i, c := range cfg.Compressors {
		with, err := newCompressor(c)
		if err == nil {
			err = m.codecs.add(with)
		}
		if err != nil {
			return nil, configError("Compressors", fmt.Sprintf("cannot be used at index %d", i), err.Error())
		}
	}
	m.local = newConnection(m, cfg.Local)
	peers := make([]*Connection, len(cfg.Peers))
	for i, n := range cfg.Peers {
		peers[i] = newConnection(m, n)
	}
	m.members.Store(newMembers(m.local, peers))
	if err := m.addBuiltin(); err != nil {
		return nil, err
	}
	return m, nil
}

// made reports whether the Manager was made by NewManager.
func (m *Manager) made() bool { return m != nil && m.handlers != nil }

// Start binds the listener and begins to connect; it does not wait for
// connections, see [Manager.WaitConnected]. ctx bounds Start alone. It fails
// where nothing would keep strangers out, neither Config.Auth nor the transport,
// and Config.AllowInsecure does not say that they may come. A Manager is started
// once; one whose Start has failed is closed.
func (m *Manager) Start(ctx context.Context) error {
	if !m.made() {
		return startError(errNoManager)
	}
	if ctx == nil {
		return startError(errNilContext)
	}
	m.mu.Lock()
	switch {
	case m.closed:
		m.mu.Unlock()
		return startError(fmt.Errorf("%w, by Close or by a Start that failed: make a new Manager, and register its handlers", ErrClosed))
	case m.started:
		m.mu.Unlock()
		return startError(errors.New("the Manager has been started already"))
	}
	m.started = true
	m.mu.Unlock()
	m.handlers.seal()
	m.codecs.seal()
	if err := m.announceHandlers(); err != nil {
		_ = m.Close()
		return startError(err)
	}
	listeners, err := m.listen(ctx)
	if err != nil {
		_ = m.Close()
		return startError(err)
	}
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		_ = closeAll(listeners)
		return startError(ErrClosed)
	}
	m.listeners = listeners
	m.mu.Unlock()
	m.peersMu.Lock()
	m.local.setState(StateConnected)
	for _, c := range m.members.Load().list {
		c.begin()
	}
	m.peersMu.Unlock()
	for rank, ln := range listeners {
		m.spawn(func() { m.acceptLoop(ln, rank) })
	}
	return nil
}

func startError(err error) error { return fmt.Errorf("gridmux: Start: %w", err) }

// spawn runs f on a goroutine that Close waits for. After Close it does nothing
// and reports false.
func (m *Manager) spawn(f func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.wg.Go(f)
	return true
}

// Local returns this node, as Config.Local says it and with a name in any case:
// the one by which [Manager.Connection] returns the loopback, and which the
// handlers of other nodes see in [PeerFromContext].
func (m *Manager) Local() Node {
	if !m.made() {
		return Node{}
	}
	return m.cfg.Local
}

// addSession adds a session to those that Close ends. It reports false after
// Close.
func (m *Manager) addSession(s *session) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.attached++
	s.number = m.attached
	m.sessions[s] = struct{}{}
	return true
}

func (m *Manager) removeSession(s *session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.sessions, s)
}

func (m *Manager) liveSessions() []*session {
	m.mu.Lock()
	defer m.mu.Unlock()
	// In a simulation the same things happen in the same order every time.
	return slices.SortedFunc(maps.Keys(m.sessions), func(a, b *session) int { return cmp.Compare(a.number, b.number) })
}

// now is the manager's clock: nanoseconds since it was made, monotonic, never 0.
func (m *Manager) now() int64 { return int64(time.Since(m.epoch)) + 1 }

// at converts a time to the manager's clock. What is beyond the clock becomes
// its end.
func (m *Manager) at(t time.Time) int64 { return max(addClock(m.now(), time.Until(t)), 1) }

// timeOf is the inverse of at.
func (m *Manager) timeOf(clock int64) time.Time { return m.epoch.Add(time.Duration(clock - 1)) }

// addClock returns now + d, or the end of the clock.
func addClock(now int64, d time.Duration) int64 {
	if int64(d) > math.MaxInt64-now {
		return math.MaxInt64
	}
	return now + int64(d)
}

// takeSlab hands a supply of contexts to a reader, for one batch.
func (m *Manager) takeSlab() *contextSlab {
	if s := m.slab.Swap(nil); s != nil {
		return s
	}
	return new(contextSlab)
}

func (m *Manager) putSlab(s *contextSlab) { m.slab.Store(s) }

// tellState tells the logger and the user of a change of a peer's state.
func (m *Manager) tellState(c StateChange) {
	attrs := []any{"local", m.cfg.Local.Name, "peer", c.Peer, "state", c.To.String()}
	if c.Err != nil {
		attrs = append(attrs, "error", c.Err)
	}
	m.log(slog.LevelInfo, "gridmux: peer changed state", attrs...)
	if m.cfg.OnState != nil {
		m.cfg.OnState(c)
	}
}

// log writes to Config.Logger, or without one what nobody else would ever see, such as
// the stacks of panics, to whatever is the default by now.
func (m *Manager) log(level slog.Level, msg string, attrs ...any) {
	l := m.cfg.Logger
	if l == nil {
		if level < slog.LevelError {
			return
		}
		l = slog.Default()
	}
	l.Log(context.Background(), level, msg, attrs...) //nolint:sloglint // What it says is constant where it is called.
}

// logPanic reports a handler that did not return.
func (m *Manager) logPanic(c *inCall, v any, stack []byte) {
	if v == nil {
		v = "runtime.Goexit was called"
	}
	m.log(slog.LevelError, "gridmux: handler panicked", "local", m.cfg.Local.Name, "peer", c.s.peer.name,
		"handler", string(c.h.id), "route", c.h.route, "panic", fmt.Sprintf("%v", v), "stack", string(stack))
}
