package core

import (
	"fmt"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// Priority says what of the traffic with one peer goes first. It orders what
// waits to be sent, in both directions; it changes nothing about which handler
// runs first. Over a transport with lanes, as QUIC, every stream, every request over
// 256 KiB and every one of PriorityLow has a lane of its own, as long as there are
// enough: small requests go before all of these, and these share the link alike,
// whatever their priority.
type Priority uint8

const (
	// PriorityNormal is the priority of what has no other. Messages of up to
	// 32 KiB of single requests go before larger ones and before streams; those
	// take turns.
	PriorityNormal Priority = iota
	// PriorityHigh is for what goes before other large messages and streams.
	PriorityHigh
	// PriorityLow is for what waits for all others, be it small or large. Over a
	// transport with lanes give it to requests whose answers are large: what is lost
	// of one on the way holds up nothing else.
	PriorityLow
)

// priorities is how many there are.
const priorities = 3

func (p Priority) String() string {
	switch p {
	case PriorityNormal:
		return "normal"
	case PriorityHigh:
		return "high"
	case PriorityLow:
		return "low"
	default:
		return fmt.Sprintf("Priority(%d)", uint8(p))
	}
}

func (p Priority) flag() wire.Flags {
	switch p {
	case PriorityHigh:
		return wire.FlagHigh
	case PriorityLow:
		return wire.FlagLow
	default:
		return 0
	}
}

// priorityOf is the inverse of flag.
func priorityOf(f wire.Flags) Priority {
	switch {
	case f&wire.FlagHigh != 0:
		return PriorityHigh
	case f&wire.FlagLow != 0:
		return PriorityLow
	default:
		return PriorityNormal
	}
}

type priorityOption Priority

// WithPriority gives a call, or a stream, a [Priority] other than
// [PriorityNormal]. What waits for others is never starved by them: a low
// priority gets a share of the link too.
func WithPriority(p Priority) CallOption { return priorityOption(p) }

func (o priorityOption) applyCall(s callSettings) callSettings {
	if s.prio = Priority(o); s.prio >= priorities {
		s.err = fmt.Errorf("WithPriority(%v): use PriorityNormal, PriorityHigh or PriorityLow", s.prio)
	}
	return s
}
