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
	// the handshake yet, and maxFreshOfHost those of one host.
	maxFresh       = 1024
	maxFreshOfHost = 512
	// crowd is the number of them from which on a client has to show that its
	// address is its own, which costs it a round trip.
	crowd = 64
)

var errCrowded = errors.New("too many connections are in their handshake")

// A door bounds what strangers hold of a socket: so many connections for the
// time of a handshake each.
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

type visitorKey struct{}

// crowded makes quic-go validate the address of a client before it does
// anything for it.
func (d *door) crowded(net.Addr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fresh >= crowd
}

// enter admits a new connection or refuses it. ctx lasts as long as the
// connection.
func (d *door) enter(ctx context.Context, client *quicgo.ClientInfo) (context.Context, error) {
	v := &visitor{door: d, addr: client.RemoteAddr, host: transport.RemoteHost(client.RemoteAddr)}
	d.mu.Lock()
	full := d.fresh >= maxFresh || d.held[v.host] >= maxFreshOfHost
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
	return context.WithValue(ctx, visitorKey{}, v), nil
}

// complain logs that a handshake failed.
func (d *door) complain(addr net.Addr, err error) {
	if te, ok := errors.AsType[*quicgo.TransportError](err); ok && !te.Remote && te.ErrorCode == quicgo.ConnectionRefused {
		return // the listener was closed meanwhile
	}
	d.log.stranger(addr, err)
}

// leave ends the handshake, once.
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

// through says that the handshake of qc is over, well or not.
func through(qc *quicgo.Conn) {
	if v, ok := qc.Context().Value(visitorKey{}).(*visitor); ok {
		v.leave()
	}
}
