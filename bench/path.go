package main

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/gridmux/gridmux/core"
)

// A real path may carry a thousandth of what another one does. So it is looked at before anything is measured over
// it, for sizes, numbers and times to be those that it can carry.

const (
	// lookCalls is how many calls tell the round-trip time.
	lookCalls = 5
	// lookTime is how long each direction is looked at, at least, and lookTrips as many round trips, in which
	// windows grow to what the path has room for.
	lookTime  = 100 * time.Millisecond
	lookTrips = 12
	// briefLook is a look that is done once more: a moment in which this machine did something else is a large part
	// of it, and none that counts of a longer one.
	briefLook = 500 * time.Millisecond
	// mostLookTime is how long it may be for as many bytes as wanted to arrive.
	mostLookTime = 3 * time.Second
	// lookGap is between what arrives one after the other, and not at once.
	lookGap = 2 * time.Millisecond
	// lookOctets is how many bytes are looked at, if that does not take too long: they arrive many at once.
	lookOctets = 5 * chunk
	// lookSize is that of a message which is sent for it, small enough to come through in a moment.
	lookSize = 1 << 10
	// lookTimeout bounds what is begun to look, so that a path over which nothing comes back is told.
	lookTimeout = 40 * time.Second
	// frameOverhead is about how many bytes a small message has more on a path: of core, TLS, TCP and IP.
	frameOverhead = 100
)

// pathFigures is what a path is like over a transport, before anything was measured.
type pathFigures struct {
	Transport string        `json:"transport"`
	RTT       time.Duration `json:"rtt_ns"`                 // of the fastest of some calls
	There     float64       `json:"bits_per_second_to_b"`   // of one stream
	Back      float64       `json:"bits_per_second_from_b"` // the same
}

// pathSpeed is what all transports have over a path at least. The zero value is one of which nothing is known, and
// so one without limits.
type pathSpeed struct {
	rtt         time.Duration
	there, back float64 // bytes per second; 0: without a limit
}

// known reports whether the path was looked at.
func (s pathSpeed) known() bool { return s.there > 0 && s.back > 0 }

// slowest is what is known of a path over several transports.
func slowest(all []pathFigures) (s pathSpeed) {
	for i, f := range all {
		there, back := f.There/8, f.Back/8
		if i == 0 {
			s = pathSpeed{f.RTT, there, back}
		}
		s = pathSpeed{max(s.rtt, f.RTT), min(s.there, there), min(s.back, back)}
	}
	return s
}

// takes is how long so many bytes do at a speed, in bytes per second.
func takes(octets, speed float64) time.Duration {
	if speed <= 0 {
		return 0
	}
	return time.Duration(min(octets/speed, math.MaxInt32) * float64(time.Second))
}

// lookAtPath looks at the path over each transport, and returns those that get through. What is known of it is
// in the report, and where the flags say what goes over it.
func (p program) lookAtPath(ctx context.Context, opts *options, of []kind, rep *report) (through []kind) {
	fmt.Fprintf(p.stdout, "\nFirst a look at what the path to %v carries, for some seconds.\n", opts.remote)
	for _, k := range of {
		f, doing, err := opts.remote.look(ctx, k)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			rep.fail(k.name, doing, err)
		default:
			rep.PathFigures, through = append(rep.PathFigures, f), append(through, k)
		}
	}
	opts.remote.speed = slowest(rep.PathFigures)
	if said := rep.aboutPath(); said != "" {
		fmt.Fprintf(p.stdout, "%s\n", wrap(said, lineWidth))
	}
	return through
}

// aboutPath says in a sentence what a path is like, or nothing of one that was not looked at.
func (r *report) aboutPath() string {
	var all []string
	for _, f := range r.PathFigures {
		all = append(all, fmt.Sprintf("%s %v, %s there and %s back", f.Transport, round3(f.RTT), bitRate(f.There), bitRate(f.Back)))
	}
	if all == nil {
		return ""
	}
	return "The round trip, and what one stream carried at first: " + strings.Join(all, "; ") + "."
}

// bitRate is a speed as people say it.
func bitRate(bits float64) string { return digits(bits/1e6) + " Mbit/s" }

// look connects over a transport to see what the path is like. If it fails it says what it was doing.
func (r *remote) look(ctx context.Context, k kind) (f pathFigures, doing string, err error) {
	opening, cancel := context.WithTimeout(ctx, connectTimeout)
	c, err := r.open(opening, k, func(*core.Config) {})
	cancel()
	if err != nil {
		return f, "connecting two nodes", err
	}
	defer c.end(ctx)
	doing = "looking at the path"
	looking, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	f.Transport = k.name
	to := c.peers()[0]
	for range lookCalls {
		began := time.Now()
		if _, err := to.Request(looking, echoID, nil); err != nil {
			return f, doing, err
		}
		if took := time.Since(began); f.RTT == 0 || took < f.RTT {
			f.RTT = max(took, 1)
		}
	}
	s := streamLoad{
		payload: randomBytes(lookSize), step: 1, count: oftenID,
		options: []core.CallOption{core.WithTimeout(lookTimeout)},
	}
	for _, d := range []struct {
		bits  *float64
		begin task
		each  int // messages of a step
	}{{&f.Back, s.receiver(to), 1}, {&f.There, s.sender(to), oftenStep}} {
		for range 2 {
			began := time.Now()
			bits, err := rateOf(looking, d.begin, 8*d.each*lookSize, f.RTT)
			if err != nil {
				return f, doing, err
			}
			*d.bits = max(*d.bits, bits)
			brief := time.Since(began) < briefLook
			c.settle(looking) // what is under way is no part of what comes next
			if !brief {
				break
			}
		}
	}
	return f, doing, nil
}

// rateOf is how many bits a second a task has, each step so many, when it has been at it for a while.
func rateOf(ctx context.Context, begin task, bits int, rtt time.Duration) (float64, error) {
	step, end, err := begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	length := max(lookTime, lookTrips*rtt)
	steps, began := 0, time.Now()
	var from, last time.Time
	for {
		if err := step(); err != nil {
			return 0, err
		}
		// Much may arrive at once: it is counted from where some begins to where other does, if there is anything
		// between them.
		now := time.Now()
		apart := now.Sub(last) >= lookGap
		last = now
		switch since := now.Sub(began); {
		case from.IsZero():
			// The first half is for windows to grow, and what has come by then may have come at once.
			if since < length/2 || !apart && since < length {
				continue
			}
			from = now
		case since >= length && now.After(from) && (int64(steps)*int64(bits) >= 8*lookOctets && apart || since >= mostLookTime):
			return float64(steps) * float64(bits) / now.Sub(from).Seconds(), nil
		}
		steps++
	}
}
