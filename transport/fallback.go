package transport

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// MultiTransport is implemented by a [Transport] that is several: different ways
// to reach the same nodes, of which some may be blocked for some of them. The
// core finds it by type assertion, listens on all of them, and chooses for each
// peer by what a whole handshake with it shows. To anybody else it is one
// transport that chooses by itself.
type MultiTransport interface {
	Transport

	// Transports returns the transports, the preferred one first. There is at
	// least one, none is nil, and they are the same ones every time. Each takes
	// the addresses of the MultiTransport as they are, to listen on and to dial,
	// and finds in them what is meant for it. They do not choose among others.
	Transports() []Transport
}

// Fallback returns a transport that reaches a node by the first of several that
// works, in the order of preference. It listens on all of them; each must belong
// to the same node and must not be used elsewhere. It implements
// [MultiTransport].
//
// A node has one address for all transports, as where one uses UDP and another
// TCP of the same port. Where they differ, the address is those of all transports
// in their order, separated by commas: "10.0.0.1:9000,10.0.0.1:9443". So no
// transport can have an address with a comma. In an address to dial an empty part
// says that the node is not to be reached by that transport; in one to listen on it
// is an error, since a node listens by all of them. A listener that was asked for
// any port reports its address in this form.
//
// Used as one transport, Dial begins with the preferred one and goes on to the
// next when that has failed, or has not succeeded within 250 ms; the first that
// connects is taken. The core does more, see core.Config.Transport.
func Fallback(preferred Transport, other ...Transport) Transport {
	f := &fallback{}
	for _, t := range append([]Transport{preferred}, other...) {
		if inner, ok := t.(*fallback); ok {
			for _, p := range inner.parts {
				f.parts = append(f.parts, &part{Transport: p.Transport})
			}
			continue
		}
		f.parts = append(f.parts, &part{Transport: t})
	}
	for i, p := range f.parts {
		p.index, p.of = i, len(f.parts)
	}
	return f
}

type fallback struct{ parts []*part }

var _ MultiTransport = (*fallback)(nil)

// connectionAttemptDelay is how long an attempt has to itself before the next
// transport is tried beside it (RFC 8305 section 5).
const connectionAttemptDelay = 250 * time.Millisecond

func (f *fallback) Transports() []Transport {
	all := make([]Transport, len(f.parts))
	for i, p := range f.parts {
		all[i] = p
	}
	return all
}

func (f *fallback) Dial(ctx context.Context, to Peer) (Conn, error) {
	type attempt struct {
		tc  Conn
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan attempt, len(f.parts))
	begun, running := 0, 0
	begin := func() {
		p := f.parts[begun]
		begun++
		running++
		go func() {
			tc, err := p.Dial(ctx, to)
			results <- attempt{tc, err}
		}()
	}
	next := time.NewTimer(connectionAttemptDelay)
	defer next.Stop()
	var winner Conn
	var failed []error
	// The others return soon when one has won, since ctx has ended then. They are
	// waited for, so that nothing is left behind.
	for begin(); running > 0; {
		more := false
		select {
		case <-next.C:
			more = true
		case a := <-results:
			running--
			switch {
			case a.err == nil && winner == nil:
				winner = a.tc
				cancel()
			case a.err == nil:
				_ = a.tc.CloseWithError(0, "another transport was faster")
			default:
				failed = append(failed, a.err)
				more = true
			}
		}
		if more && begun < len(f.parts) && ctx.Err() == nil {
			begin()
			next.Reset(connectionAttemptDelay)
		}
	}
	if winner == nil {
		return nil, dialErrors(to, failed)
	}
	return winner, nil
}

// dialErrors is the error of a dial by several transports.
func dialErrors(to Peer, failed []error) error {
	e := &DialError{Transport: "fallback", Peer: to, Phase: PhaseDial, Err: attemptErrors(failed)}
	for _, err := range failed {
		// The one that came furthest tells most.
		if d, ok := errors.AsType[*DialError](err); ok && phaseOrder[d.Phase] > phaseOrder[e.Phase] {
			e.Phase = d.Phase
		}
	}
	return e
}

// attemptErrors are several errors in one line.
type attemptErrors []error

func (e attemptErrors) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (e attemptErrors) Unwrap() []error { return e }

var phaseOrder = map[string]int{PhaseDial: 0, PhaseTLS: 1, PhaseUpgrade: 2, PhaseHello: 3}

// part is one transport of a Fallback. It takes addresses of the Fallback.
type part struct {
	Transport

	index, of int
}

var errNoTransport = errors.New("the transport given to Fallback is nil")

// find returns what is meant for this transport in an address.
func (p *part) find(addr string) (string, error) {
	all := strings.Split(addr, ",")
	switch {
	case p.Transport == nil:
		return "", errNoTransport
	case len(all) == 1:
		return addr, nil
	case len(all) != p.of:
		return "", fmt.Errorf("address %q has %d parts for %d transports: give one for all, or one for each", addr, len(all), p.of)
	}
	return strings.TrimSpace(all[p.index]), nil
}

func (p *part) Dial(ctx context.Context, to Peer) (Conn, error) {
	addr, err := p.find(to.Addr)
	if err == nil && addr == "" && to.Addr != "" {
		err = fmt.Errorf("address %q has an empty part for this transport: the node is not to be reached by it", to.Addr)
	}
	if err != nil {
		return nil, &DialError{Transport: "fallback", Peer: to, Phase: PhaseDial, Err: err}
	}
	return p.Transport.Dial(ctx, Peer{Name: to.Name, Addr: addr})
}

func (p *part) Listen(ctx context.Context, addr string) (Listener, error) {
	own, err := p.find(addr)
	if err == nil && own == "" && addr != "" {
		// To most transports it would mean any port of all interfaces.
		err = fmt.Errorf("listening address %q has an empty part for transport %d of %d: say where that one is to listen, "+
			"such as 127.0.0.1:0 for any port that only this machine reaches", addr, p.index+1, p.of)
	}
	if err != nil {
		return nil, err
	}
	return p.Transport.Listen(ctx, own)
}
