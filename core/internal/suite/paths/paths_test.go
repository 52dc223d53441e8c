package paths_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/internal/packetnet"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/devtls"
	"github.com/gridmux/gridmux/transport/quic"
)

// leastMTU is what UDP can carry over IPv6 at its least MTU of 1280 bytes.
const leastMTU = 1280 - 40 - 8

// cluster is one of three nodes over QUIC.
type cluster struct {
	*coretest.Cluster
	net    *lab.QUICNetwork
	ledger *coretest.Ledger
	books  []*lab.StateBook
}

func newCluster(t *testing.T, conditions packetnet.Conditions, seed uint64, config *quicgo.Config) *cluster {
	c := &cluster{net: lab.NewQUICNetwork(t, conditions, seed), ledger: coretest.NewLedger()}
	books, note := lab.Books(3)
	c.books = books
	c.Cluster = coretest.NewCluster(t, 3, note,
		coretest.WithTransport(func(_ int, name string) (transport.Transport, string) {
			return c.net.Node(name, quic.Options{TLS: devtls.Config(name), Config: config}), name + ":1"
		}),
		lab.Configure(func(cfg *core.Config) { cfg.AllowInsecure = false }),
		coretest.WithHandlers(func(_ int, m *core.Manager) error {
			return errors.Join(c.ledger.Register(m), m.HandleStreamFunc("count", count, core.WithCapacity(16, 16)))
		}),
	)
	return c
}

// count sends back the numbers that it gets, which have to come in order, with so
// many bytes behind them.
func count(_ context.Context, _ []byte, s *core.RawStream) error {
	var buf []byte
	for n := 0; ; n++ {
		msg, err := s.Recv(buf[:0])
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if got := binary.LittleEndian.Uint32(msg); int(got) != n {
			return fmt.Errorf("message %d has the number %d", n, got)
		}
		if err := s.Send(msg); err != nil {
			return err
		}
		buf = msg
	}
}

// use makes every node call every other, and stream to it, for as many rounds.
// step is called with each round of the first node. Nothing may fail or take more
// than the five seconds that each call and each message has.
func (c *cluster) use(t *testing.T, rounds int, step func(round int)) {
	t.Helper()
	var wg sync.WaitGroup
	for from := range c.Len() {
		for to := range c.Len() {
			if from == to {
				continue
			}
			wg.Go(func() {
				for n := range rounds {
					if from == 0 && to == 1 {
						step(n)
					}
					job := coretest.Job{Request: n * 4999 % 100_000, Response: n * 9973 % 100_000}
					err := c.ledger.Call(t.Context(), c.Conn(from, to), fmt.Sprintf("%d to %d", from, to), coretest.LedgerAppend,
						job, core.WithTimeout(5*time.Second))
					if err != nil {
						t.Errorf("call %d from node %d to %d: %v", n, from, to, err)
					}
				}
			})
			wg.Go(func() {
				if err := c.stream(t, from, to, rounds); err != nil {
					t.Errorf("the stream from node %d to %d: %v", from, to, err)
				}
			})
		}
	}
	wg.Wait()
}

func (c *cluster) stream(t *testing.T, from, to, messages int) error {
	s, err := c.Conn(from, to).OpenStream(t.Context(), "count", nil)
	if err != nil {
		return err
	}
	defer s.Close()
	msg := make([]byte, 2000)
	for n := range messages {
		began := time.Now()
		binary.LittleEndian.PutUint32(msg, uint32(n))
		if err := s.Send(msg); err != nil {
			return fmt.Errorf("message %d: %w", n, err)
		}
		got, err := s.Recv(nil)
		if err != nil {
			return fmt.Errorf("message %d came not back: %w", n, err)
		}
		if number := binary.LittleEndian.Uint32(got); int(number) != n {
			return fmt.Errorf("%d came back in place of message %d", number, n)
		}
		if d := time.Since(began); d > 5*time.Second {
			return fmt.Errorf("message %d took %v", n, d)
		}
	}
	return s.CloseSend()
}

// dialler returns the name of a node that has dialled all others. Such a one can
// move; that one can that was dialled, QUIC does not promise.
func (c *cluster) dialler(t *testing.T) string {
	t.Helper()
	for i := range c.Len() {
		dialled := 0
		for other := range c.Len() {
			if c.net.Dialled(c.Node(i).Name, c.Node(other).Name) {
				dialled++
			}
		}
		if dialled == c.Len()-1 {
			return c.Node(i).Name
		}
	}
	t.Fatal("no node has dialled all others")
	return ""
}

// wantNoLoss expects no connection to have been lost.
func (c *cluster) wantNoLoss(t *testing.T) {
	t.Helper()
	for _, b := range c.books {
		for _, s := range b.Of("") {
			if s.From == core.StateConnected {
				t.Errorf("a connection was lost: %+v", s)
			}
		}
	}
	if err := c.ledger.Check(); err != nil {
		t.Error(err)
	}
}

// TestBadPaths expects no call with five seconds to fail, streams to be in order,
// and no connection to be lost, where the network loses up to every tenth datagram,
// duplicates and reorders them, takes none over the least MTU, and is silent for
// half a second (F30).
func TestBadPaths(t *testing.T) {
	for _, loss := range []float64{0, 0.01, 0.05, 0.1} {
		for seed := range uint64(lab.Scale(2, 1, 20)) {
			t.Run(fmt.Sprintf("loss %v seed %d", loss, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newCluster(t, packetnet.Conditions{
						Latency: 5 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: loss, Duplicate: 0.05, MTU: leastMTU,
					}, seed, nil)
					c.use(t, 50, func(round int) {
						if round == 25 {
							c.net.Datagrams().Silence(500 * time.Millisecond)
						}
					})
					c.wantNoLoss(t)
				})
			})
		}
	}
}

// TestPathChanges expects calls and streams, in both directions, to go on when a
// node's datagrams come from another port or host, as after a change of network or
// behind a router that forgets, and no connection to be lost. It changes twice:
// quic-go looks after three paths at a time and forgets one after five seconds.
//
// The peers learn of the change by a datagram of the node. Where that is lost, and
// the node only waits, the next one is that of a keep-alive: of the core after five
// seconds or more, of QUIC as soon as the user wants it (F32).
func TestPathChanges(t *testing.T) {
	for _, test := range []struct {
		loss   float64
		config *quicgo.Config
	}{
		{0, nil},
		{0.02, &quicgo.Config{KeepAlivePeriod: time.Second}},
	} {
		for seed := range uint64(lab.Scale(5, 1, 50)) {
			t.Run(fmt.Sprintf("loss %v seed %d", test.loss, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newCluster(t, packetnet.Conditions{Latency: 5 * time.Millisecond, Loss: test.loss}, seed, test.config)
					at := c.net.Addr(c.dialler(t))
					c.use(t, 60, func(round int) {
						switch round {
						case 20:
							c.net.Datagrams().Rebind(at, netip.AddrPortFrom(at.Addr(), 1000))
						case 40:
							c.net.Datagrams().Rebind(at, netip.MustParseAddrPort("10.9.9.9:1001"))
						}
					})
					c.wantNoLoss(t)
				})
			})
		}
	}
}
