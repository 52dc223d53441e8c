// Package ours registers gridmux as contenders of the yardstick, over each of
// its transports. Nothing is tuned for it: all limits are the defaults of a
// plaintext link. Keep-alive is put off, since the other contenders have none
// that is comparable and a window has to be alike for all.
package ours

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gridmux/gridmux/bench/peers/h"
	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/devtls"
	"github.com/gridmux/gridmux/transport/inmem"
	"github.com/gridmux/gridmux/transport/quic"
	"github.com/gridmux/gridmux/transport/websocket"
)

const (
	echoID   = core.HandlerID("echo")
	inlineID = core.HandlerID("inline")

	// callTimeout is the deadline that every call carries, as calls should.
	callTimeout = time.Minute
	// openTimeout bounds how long a cluster may take to connect; 300 nodes in
	// one process take seconds.
	openTimeout = time.Minute
	// openers is how many pairs of idle connections are opened at a time.
	openers = 16
)

// network gives the nodes of a cluster their transports and addresses.
type network func(node string) (transport.Transport, string, error)

// overWebsocket is a network of plaintext connections over the loopback
// interface.
func overWebsocket() network {
	return func(string) (transport.Transport, string, error) {
		ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not wait
		if err != nil {
			return nil, "", err
		}
		return websocket.New(websocket.Options{Listener: ln}), ln.Addr().String(), nil
	}
}

// overTLS is overWebsocket with TLS, each node with a certificate of its own.
func overTLS() network {
	return func(node string) (transport.Transport, string, error) {
		ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not wait
		if err != nil {
			return nil, "", err
		}
		return websocket.New(websocket.Options{Listener: ln, TLS: devtls.Config(node)}), ln.Addr().String(), nil
	}
}

// overQUIC is a network of QUIC connections over the loopback interface.
func overQUIC() network {
	return func(node string) (transport.Transport, string, error) {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0") //nolint:noctx // it does not wait
		if err != nil {
			return nil, "", err
		}
		return quic.New(quic.Options{PacketConn: pc, TLS: devtls.Config(node)}), pc.LocalAddr().String(), nil
	}
}

// inMemory is a network within the process.
func inMemory() network {
	n := inmem.NewNetwork()
	return func(node string) (transport.Transport, string, error) { return n.Node(node), node, nil }
}

// cluster is some nodes, each connected to all others.
type cluster []*core.Manager

// open starts nodes that echo and waits until all are connected.
func open(nodes int, on network) (c cluster, err error) {
	defer func() {
		if err != nil {
			c.close()
			c = nil
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	members := make([]core.Node, nodes)
	transports := make([]transport.Transport, nodes)
	for i := range members {
		members[i].Name = fmt.Sprint("n", i)
		if transports[i], members[i].Addr, err = on(members[i].Name); err != nil {
			return c, err
		}
	}
	for i := range members {
		m, err := core.NewManager(core.Config{
			Cluster:          "bench",
			Local:            members[i],
			Peers:            members,
			Transport:        transports[i],
			AllowInsecure:    true, // it never leaves this machine
			KeepAlive:        time.Hour,
			KeepAliveTimeout: time.Hour,
		})
		if err != nil {
			return c, err
		}
		c = append(c, m)
		if err := serve(m); err != nil {
			return c, err
		}
		if err := m.Start(ctx); err != nil {
			return c, err
		}
	}
	for _, m := range c {
		if err := m.WaitConnected(ctx); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (c cluster) close() {
	for _, m := range c {
		_ = m.Close()
	}
}

func serve(m *core.Manager) error {
	echo := func(_ context.Context, req []byte) ([]byte, error) { return req, nil }
	return errors.Join(
		m.Handle(echoID, echo),
		m.Handle(inlineID, echo, core.WithInline()),
		serveStreams(m),
	)
}

// openPair joins two nodes and lets the first call a handler of the other.
func openPair(id core.HandlerID, move mover, on network) (*h.Peer, error) {
	c, err := open(2, on)
	if err != nil {
		return nil, err
	}
	to := c[0].Connection("n1")
	closing, cancel := context.WithCancel(context.Background())
	return &h.Peer{
		NewWorker: func() (h.EchoFn, error) { return echo(closing, to, id), nil },
		Stream:    func(count, size int) (int, error) { return move(closing, to, count, size) },
		Close: func() {
			cancel()
			c.close()
		},
	}, nil
}

// echo returns a worker that calls over and over. Each has a context of its own
// that can be cancelled, as a caller in a program would; it ends when closing
// does.
func echo(closing context.Context, to *core.Connection, id core.HandlerID) h.EchoFn {
	ctx, cancel := context.WithCancel(context.Background())
	context.AfterFunc(closing, cancel)
	timeout := core.WithTimeout(callTimeout)
	var buf []byte
	return func(req []byte) (int, error) {
		answer, err := to.AppendRequest(ctx, id, req, buf[:0], timeout)
		buf = answer
		return len(answer), err
	}
}

// idle opens n pairs of nodes that are connected and do nothing.
func idle(on func() network) func(n int) (func(), error) {
	return func(n int) (func(), error) {
		var (
			mu    sync.Mutex
			pairs []cluster
			group errgroup.Group
		)
		group.SetLimit(openers)
		for range n {
			group.Go(func() error {
				c, err := open(2, on())
				mu.Lock()
				defer mu.Unlock()
				pairs = append(pairs, c)
				return err
			})
		}
		err := group.Wait()
		return func() {
			for _, c := range pairs {
				c.close()
			}
		}, err
	}
}

// mesh opens n nodes, each connected to all others.
func mesh(on func() network) func(n int) (func(), error) {
	return func(n int) (func(), error) {
		c, err := open(n, on())
		return c.close, err
	}
}

func register(name, note string, id core.HandlerID, move mover, on func() network) {
	h.Register(&h.Factory{
		Name: name,
		Note: note,
		Open: func(int) (*h.Peer, error) { return openPair(id, move, on()) },
		Idle: idle(on),
		Mesh: mesh(on),
	})
}

func init() { //nolint:gochecknoinits // how the harness learns of its contenders
	register("ours", "gridmux over websocket, any handler; streams with Send and Recv", echoID, fromSource, overWebsocket)
	register("ours-up", "the same, streams from client to server", echoID, toSink, overWebsocket)
	register("ours-chan", "the same, streams with channels", echoID, fromChanSource, overWebsocket)
	register("ours-chan-up", "the same, streams with channels from client to server", echoID, toChanSink, overWebsocket)
	register("ours-inline", "gridmux over websocket, handler marked non-blocking", inlineID, fromSource, overWebsocket)
	register("ours-wss", "gridmux over websocket with TLS, any handler", echoID, fromSource, overTLS)
	register("ours-quic", "gridmux over QUIC, any handler", echoID, fromSource, overQUIC)
	register("ours-inmem", "gridmux over inmem, any handler", echoID, fromSource, inMemory)
	register("ours-inmem-up", "the same, streams from client to server", echoID, toSink, inMemory)
}
