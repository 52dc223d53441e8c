package link

import (
	"errors"
	"fmt"
	"math"
	"time"
)

const (
	// MinMTU is the least MTU of a link, the least that IPv6 allows.
	MinMTU = 1280
	// MaxMTU is the largest MTU of a link, the size of the largest IPv4 packet.
	MaxMTU = 65535
	// DefaultMTU is the MTU of a link whose Conditions name none, Ethernet's.
	DefaultMTU = 1500

	maxTime = time.Minute
	minRate = 1e3
	maxRate = 1e12
)

// Conditions is the state of a link, or of one direction of it. The zero value is
// a link that delivers everything as fast as the machine can.
type Conditions struct {
	// RTT is the round-trip time of a small packet on an idle line, without the
	// time that the ends take, which is some ten microseconds each. Each direction
	// delays by half of it, so if they differ, the round trip takes the mean of
	// both. At most a minute.
	RTT time.Duration
	// Jitter is by how much the round-trip time strays from RTT either way, at most
	// by RTT; each direction draws half of it for each packet, evenly distributed.
	// A packet that would overtake the one before waits for it, so at a high rate of
	// packets delays gather at the upper end.
	Jitter time.Duration
	// Rate is how many bits a second the line carries in each direction, IP headers
	// included; 0 for no limit, else 1e3 to 1e12.
	Rate float64
	// Queue is the longest time that a packet waits for the line to be free; what
	// would wait longer is dropped. 0 stands for the larger of RTT, 20 ms and 16
	// packets of the MTU. Without Rate nothing waits. At most a minute.
	Queue time.Duration
	// Loss is the share of packets that are lost, each independent of the others,
	// from 0 to 1.
	Loss float64
	// Reorder is the share of packets that those behind them may overtake, from 0
	// to 1: they arrive late by up to a quarter of RTT, but at least 1 ms.
	Reorder float64
	// MTU is the size of the largest packet that the link carries, from [MinMTU] to
	// [MaxMTU]; 0 stands for [DefaultMTU].
	MTU int
	// BlockUDP drops all UDP, as some firewalls do: without an answer.
	BlockUDP bool
}

// Validate returns an error that names the first field that is out of its range.
func (c Conditions) Validate() error {
	switch {
	case c.RTT < 0 || c.RTT > maxTime:
		return fmt.Errorf("link: rtt is %v, not from 0 to %v", c.RTT, maxTime)
	case c.Jitter < 0 || c.Jitter > c.RTT:
		return fmt.Errorf("link: jitter is %v, not from 0 to the rtt of %v", c.Jitter, c.RTT)
	case c.Rate != 0 && !(c.Rate >= minRate && c.Rate <= maxRate):
		return fmt.Errorf("link: rate is %s, not from %s to %s", FormatRate(c.Rate), FormatRate(minRate), FormatRate(maxRate))
	case c.Queue < 0 || c.Queue > maxTime:
		return fmt.Errorf("link: queue is %v, not from 0 to %v", c.Queue, maxTime)
	case !(c.Loss >= 0 && c.Loss <= 1):
		return fmt.Errorf("link: loss is %s, not from 0%% to 100%%", FormatShare(c.Loss))
	case !(c.Reorder >= 0 && c.Reorder <= 1):
		return fmt.Errorf("link: reorder is %s, not from 0%% to 100%%", FormatShare(c.Reorder))
	case c.MTU != 0 && (c.MTU < MinMTU || c.MTU > MaxMTU):
		return fmt.Errorf("link: mtu is %d, not from %d to %d", c.MTU, MinMTU, MaxMTU)
	}
	return nil
}

// mtu returns the MTU with its default.
func (c Conditions) mtu() int {
	if c.MTU == 0 {
		return DefaultMTU
	}
	return c.MTU
}

// queue returns the bound of the queue with its default.
func (c Conditions) queue() time.Duration {
	if c.Queue > 0 || c.Rate == 0 {
		return c.Queue
	}
	return max(c.RTT, 20*time.Millisecond, 16*c.transmission(c.mtu()))
}

// transmission returns how long the line is busy with size octets.
func (c Conditions) transmission(size int) time.Duration {
	if c.Rate == 0 {
		return 0
	}
	return time.Duration(math.Round(float64(size) * 8 / c.Rate * float64(time.Second)))
}

// A Direction is one of the two of a link.
type Direction int

const (
	// AToB is what end A sends to end B.
	AToB Direction = iota
	// BToA is what end B sends to end A.
	BToA
)

// String returns "a-to-b" or "b-to-a".
func (d Direction) String() string {
	switch d {
	case AToB:
		return "a-to-b"
	case BToA:
		return "b-to-a"
	default:
		return fmt.Sprintf("direction %d", int(d))
	}
}

func (d Direction) validate() error {
	if d != AToB && d != BToA {
		return errors.New("link: there is no " + d.String())
	}
	return nil
}

// Stats counts what happened to the packets of one direction. Every packet that
// was sent is counted in exactly one of Delivered, Lost, Overflowed, Blocked,
// TooBig and Overrun, or is still on its way. The fragments that a narrow link makes of
// a packet are delivered as one.
type Stats struct {
	// Sent is what the sending end put on the link. Octets include IP headers.
	Sent, SentOctets uint64
	// Delivered is what the receiving end got.
	Delivered, DeliveredOctets uint64
	// Lost is what Loss picked.
	Lost uint64
	// Overflowed is what found the queue full.
	Overflowed uint64
	// Blocked is what met a blocked direction, or was UDP where that is blocked.
	Blocked uint64
	// TooBig is what was larger than the MTU and must not be fragmented.
	TooBig uint64
	// Reordered is what Reorder picked, among Delivered.
	Reordered uint64
	// Overrun is what the machine lost, not the link: it had too much to do. What
	// did not even reach the link is not in Sent. If there is more than a trace of it,
	// what was measured is void.
	Overrun uint64
	// Late counts what was delivered more than 1 ms after its time, among
	// Delivered, because the machine had too much to do.
	Late uint64
}
