package quic

import (
	"context"
	"errors"
	"net"
	"sync"

	quicgo "github.com/quic-go/quic-go"

	"github.com/gridmux/gridmux/transport"
)

const (
	// maxFresh bounds the connections of a listener that have not come through
	// the handshake yet.
	maxFresh = 1024
	// crowd is the number of them from which on a client has to show that its
	// address is its own, which costs it a round trip.
	crowd = 64
)

var errCrowded = errors.New("too many connections are in their handshake")

// A door bounds what strangers hold of a socket: so many connections for the
// time of a handshake each. No host gets more than is left for the others, so that
// one has half of them, two have a third each, and there is room for who comes next.
// quic-go has no way to end a handshake that it is in, or the oldest could go instead.
type door struct {
	log *calmLog

	mu    sync.Mutex
	fresh int            // guarded by mu
	held  map[string]int // guarded by mu; of them each host has
}

func newDoor(log *calmLog) *door { return &door{log: log, held: make(map[string]int)} }

// A visitor is a connection in its handshake.
type visitor struct {
	door *door
	addr net.Addr
	host string
	once sync.Once
}

type (
	visitorKey  struct{}
	connContext = func(context.Context, *quicgo.ClientInfo) (context.Context, error)
)

// crowded reports whether quic-go has to validate the address of a client before it
// does anything for it.
func (d *door) crowded() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fresh >= crowd
}

// enter admits a connection from addr or refuses it. ctx lasts as long as the
// connection.
func (d *door) enter(ctx context.Context, addr net.Addr) (*visitor, error) {
	v := &visitor{door: d, addr: addr, host: transport.RemoteHost(addr)}
	d.mu.Lock()
	full := d.held[v.host] >= maxFresh-d.fresh
	if !full {
		d.fresh++
		d.held[v.host]++
	}
	d.mu.Unlock()
	if full {
		return nil, errCrowded
	}
	context.AfterFunc(ctx, func() {
		if v.leave() {
			d.complain(v.addr, context.Cause(ctx))
		}
	})
	return v, nil
}

// guard returns a quic.Transport.ConnContext that lets connections in, and asks
// next, unless it is nil.
func (d *door) guard(next connContext) connContext {
	return func(ctx context.Context, client *quicgo.ClientInfo) (context.Context, error) {
		// The context of next need not end with the connection; this one does.
		v, err := d.enter(ctx, client.RemoteAddr)
		if err == nil && next != nil {
			ctx, err = next(ctx, client)
		}
		if err != nil {
			return nil, err
		}
		return context.WithValue(ctx, visitorKey{}, v), nil
	}
}

// complain logs that a handshake failed.
func (d *door) complain(addr net.Addr, err error) {
	if te, ok := errors.AsType[*quicgo.TransportError](err); ok && !te.Remote && te.ErrorCode == quicgo.ConnectionRefused {
		return // the listener was closed meanwhile
	}
	d.log.stranger(addr, err)
}

// leave ends the handshake, well or not, once.
func (v *visitor) leave() (first bool) {
	v.once.Do(func() {
		first = true
		v.door.mu.Lock()
		defer v.door.mu.Unlock()
		v.door.fresh--
		v.door.held[v.host]--
		if v.door.held[v.host] == 0 {
			delete(v.door.held, v.host)
		}
	})
	return first
}

// visitorOf returns who quic-go has let in with a connection.
func visitorOf(qc *quicgo.Conn) *visitor {
	v, _ := qc.Context().Value(visitorKey{}).(*visitor)
	return v
}
