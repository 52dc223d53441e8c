package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gridmux/gridmux/bench/internal/link"
)

// compressionOptions is what the flags say about compression.
type compressionOptions struct {
	wanted   bool
	payloads []string
	sizes    []int     // rising
	samples  string    // where messages of the user's are; "": they are generated
	own      [][]byte  // those messages
	lines    bool      // each line of those files is one
	speeds   []float64 // of links to send over, in bits per second, falling
	duration time.Duration
}

const (
	// speedShare is the part of the time, one in so many, that each way is measured for
	// over each link.
	speedShare = 16
	// speedRTT is the round-trip time of those links, short enough not to matter.
	speedRTT = time.Millisecond
	// speedUnderWay is for how long the link has to carry what is under way: long beside
	// the round-trip time, so that the link is never idle, and short beside a window.
	speedUnderWay = 4 * speedRTT
	// speedQueue holds all that the callers have under way, so that nothing is lost and
	// congestion control has no say: it is compression that is to be compared.
	speedQueue = 10 * time.Second
	// speedSeed decides what is random of those links, which is nothing.
	speedSeed = 1
	// speedRounds is how often each way is measured over each of those links.
	speedRounds = 5
	// busySpeed is that of a link that leastCallers keep busy with what is left of their
	// messages.
	busySpeed = 100e6
	// shortestWarmUp is enough for the link to be full, where it is fast.
	shortestWarmUp = 50 * time.Millisecond
	// speedSize is the size of the messages that go over those links, or the nearest
	// that there is.
	speedSize = 16 << 10
)

// compressionKind returns the transport to measure over: the reference, if it is among
// them.
func compressionKind(of []kind) kind {
	if i := slices.IndexFunc(of, func(k kind) bool { return k.name == reference }); i >= 0 {
		return of[i]
	}
	return of[0]
}

// measureCompression measures all ways, without a link and with some, and puts what
// there is into the report.
func (p program) measureCompression(ctx context.Context, opts compressionOptions, of []kind, rep *report) {
	if len(of) == 0 {
		return
	}
	k := compressionKind(of)
	all := sendings(&opts)
	cells := 0
	for _, s := range all {
		cells += len(s.ways)
	}
	r := newCompressionReport(newPlan(opts.duration, cells), k.name)
	rep.Compression = r
	fmt.Fprintf(p.stdout, "\n%s\n", r.header(r.Planned))
	progress := newProgress(p.stdout, p.stderr, r.timing, cells, p.speedTime(&opts, of))
	err := r.measure(ctx, k, all, opts.duration, progress)
	progress.finish()
	if err == nil && ctx.Err() == nil && len(opts.speeds) > 0 && k.carrier != overMemory {
		err = p.measureSpeeds(ctx, opts, k, all, r)
	}
	if err != nil && ctx.Err() == nil {
		rep.fail("compression", "measuring", err)
	}
}

// measure measures on this machine, round by round, as many as there is time for.
func (r *compressionReport) measure(ctx context.Context, k kind, all []*sending, total time.Duration, progress *progress) error {
	s, err := openSenders(ctx, k.open(onLoopback), all)
	if err != nil {
		return err
	}
	defer s.end(ctx)
	for _, of := range all {
		for _, w := range of.ways {
			if err := w.check(ctx, s.connection("b"), of.messages); err != nil {
				return fmt.Errorf("%s: %w", w.title, err)
			}
		}
	}
	began := time.Now()
	order := turns(all...)
	for round := 1; round <= r.Planned; round++ {
		for _, next := range order {
			of, w := next.of, next.way
			progress.begin(round, of.title(), w.name)
			m, octets, err := s.window(ctx, of, w, of.callers(), r.timing)
			if err != nil {
				return err
			}
			progress.end(0)
			m.Round = round
			w.windows, w.octets = append(w.windows, m), append(w.octets, octets)
		}
		slices.Reverse(order) // so that none always follows another
		r.Rounds = round
		r.fill(all)
		if fits := fitting(r.Planned, total, minRounds, round, time.Since(began)); fits < r.Planned {
			r.Planned = fits
			progress.shorten(fits, len(order))
		}
	}
	return nil
}

// turn is one way to send messages.
type turn struct {
	of  *sending
	way *way
}

// turns are all ways to send all of them.
func turns(all ...*sending) (order []turn) {
	for _, of := range all {
		for _, w := range of.ways {
			order = append(order, turn{of, w})
		}
	}
	return order
}

// measureSpeeds sends over links, to see whether what was computed is true.
func (p program) measureSpeeds(ctx context.Context, opts compressionOptions, k kind, all []*sending, r *compressionReport) error {
	of := slices.MinFunc(all, func(a, b *sending) int { return distance(a.size) - distance(b.size) })
	for _, speed := range opts.speeds {
		callers := speedCallers(of.size, speed)
		timing := speedPlan(opts.duration/speedShare, of.size*callers, speed)
		l, err := p.link(speedSeed, link.Conditions{RTT: speedRTT, Rate: speed, Queue: speedQueue})
		if errors.Is(err, link.ErrUnavailable) {
			r.LeftOut = trimPackage(err).Error()
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(p.stdout, "over a link of %s, %v\n", link.FormatRate(speed),
			(time.Duration(len(of.ways)*timing.rounds) * (timing.warmUp + timing.window)).Round(100*time.Millisecond))
		windows, late, err := measureSpeed(ctx, k, l, of, callers, timing)
		l.close()
		if err != nil {
			return fmt.Errorf("over a link of %s: %w", link.FormatRate(speed), err)
		}
		r.addSpeed(of, speed, callers, windows, late)
	}
	return nil
}

// speedTime is about how long that takes.
func (p program) speedTime(opts *compressionOptions, of []kind) time.Duration {
	if len(opts.speeds) == 0 || len(of) == 0 || compressionKind(of).carrier == overMemory ||
		!available(p.link, speedSeed, link.Conditions{RTT: speedRTT, Rate: opts.speeds[0], Queue: speedQueue}) {
		return 0
	}
	total := time.Duration(0)
	for _, speed := range opts.speeds {
		timing := speedPlan(opts.duration/speedShare, speedSize*speedCallers(speedSize, speed), speed)
		total += time.Duration(len(wayNames())*timing.rounds) * (timing.warmUp + timing.window)
	}
	return total
}

// speedCallers is how many callers keep a link busy: on a slow one fewer do, and what more of them have
// under way would take longer than a window, or, of large messages, than the time-out.
func speedCallers(size int, speed float64) int {
	inTime := int(speed / 8 * (callTimeout / 4).Seconds() / float64(max(size, 1)))
	least := max(min(int(leastCallers*speed/busySpeed), leastCallers, inTime), 2)
	return min(max(int(speed/8*speedUnderWay.Seconds())/max(size, 1), least), mostCallers)
}

// speedPlan has windows that together are so long, and each long beside what takes the bytes that
// are under way, as long as they are not much longer than they should be.
func speedPlan(length time.Duration, underWay int, speed float64) plan {
	takes := time.Duration(8 * float64(underWay) / speed * float64(time.Second))
	window := max(length/speedRounds, minWindow, min(8*takes, length))
	return plan{rounds: speedRounds, warmUp: max(window/4, shortestWarmUp), window: window}
}

func distance(size int) int { return max(size-speedSize, speedSize-size) }

// measureSpeed measures all ways over one link, round by round. It returns the windows of each, in
// the order of the ways, and the share of packets that were late because the machine was busy.
func measureSpeed(
	ctx context.Context, k kind, l emulated, of *sending, callers int, timing plan,
) (windows [][]sample, late float64, err error) {
	s, err := openSenders(ctx, k.open(l.at), []*sending{of})
	if err != nil {
		return nil, 0, err
	}
	defer s.end(ctx)
	windows = make([][]sample, len(of.ways))
	order := turns(of)
	for round := 1; round <= timing.rounds; round++ {
		for _, next := range order {
			m, _, err := s.window(ctx, of, next.way, callers, timing)
			if err != nil {
				return nil, 0, err
			}
			m.Round = round
			i := slices.Index(of.ways, next.way)
			windows[i] = append(windows[i], m)
		}
		slices.Reverse(order)
	}
	stats, err := l.stats()
	if stats.Sent > 0 {
		late = float64(stats.Late+stats.Overrun) / float64(stats.Sent)
	}
	return windows, late, err
}
