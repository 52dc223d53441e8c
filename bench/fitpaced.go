package main

import (
	"fmt"
	"math"
	"time"
)

const (
	// pacedShare is the part of the path that calls at a set rate and the streams beside them may have.
	pacedShare = 0.7
	// streamOctets is how many bytes a second such a stream has beside its own, whatever it carries, and overheadShare
	// the part of the path that those of all streams may have: over a path that carries less there are fewer of them.
	streamOctets  = 50 * float64(time.Second/paceInterval)
	overheadShare = 0.25
	// leastRate bounds how far the load is made smaller, and so how long it takes for as many calls to be made as
	// say something.
	leastRate = 5
)

// askedFor is what of a load the flags name. It is not changed.
type askedFor struct{ rate, streams, bits, time bool }

// fitPaced makes the load at a set rate smaller, if the path does not carry it: beyond what a path carries calls wait
// for those before them, for longer and longer. What is not measured for it is left out.
func (o *options) fitPaced(rep *report) {
	p, speed := &o.paced, o.remote.speed
	if !p.wanted || !speed.known() {
		return
	}
	p.warmUp = max(p.warmUp, 3*speed.rtt)
	usual := p.rate
	if why := p.fit(speed); why != "" {
		p.wanted = false
		rep.LeftOut = append(rep.LeftOut, leftOut{pacedName, fmt.Sprintf("%d calls a second", usual), why})
	}
}

// fit makes the load one that the path carries, or says why it cannot. It goes by steps, for two runs over a path,
// which never looks quite the same, to have the same load most often.
func (p *pacedOptions) fit(speed pathSpeed) (why string) {
	for p.share(speed) > pacedShare && p.lower(speed) {
		p.fitted = true
	}
	if share := p.share(speed); share > 1 || share > pacedShare && !p.asked.load() {
		there, back := p.needs()
		return fmt.Sprintf("with the streams beside them they need at least %s there and %s back, and the path carries %s and %s",
			bitRate(8*there), bitRate(8*back), bitRate(8*speed.there), bitRate(8*speed.back))
	}
	enough := leastPaced * time.Second / time.Duration(p.rate)
	switch {
	case !p.fitted || p.duration >= enough:
	case p.asked.time:
		return fmt.Sprintf("the path carries %d a second, of which %d take %v: name a longer -paced-time",
			p.rate, leastPaced, rough(enough))
	default:
		p.duration = (enough/parts + time.Millisecond).Truncate(time.Millisecond) * parts
	}
	return ""
}

// lower goes one step down with what nobody asked for, and reports whether there was one.
func (p *pacedOptions) lower(speed pathSpeed) bool {
	if !p.asked.streams && float64(p.streams)*streamOctets > overheadShare*speed.there {
		p.streams--
		return true
	}
	rate := !p.asked.rate && p.rate > leastRate
	if rate {
		p.rate = max(int(stepBelow(float64(p.rate))), leastRate)
	}
	bits := !p.asked.bits && p.streams > 0 && p.bits > minStreamBits
	if bits {
		p.bits = max(stepBelow(p.bits), minStreamBits)
	}
	return rate || bits
}

// load reports whether any of it is named.
func (a askedFor) load() bool { return a.rate || a.streams || a.bits }

// needs is how many bytes a second the load has in each direction.
func (p *paced) needs() (there, back float64) {
	calls := float64(p.rate * (p.size + frameOverhead))
	return calls + float64(p.streams)*(p.bits/8+streamOctets), calls
}

// share is the part of a path that the load takes up, in the direction of which it takes up more.
func (p *paced) share(of pathSpeed) float64 {
	there, back := p.needs()
	return max(there/of.there, back/of.back)
}

// stepBelow is the next smaller number that is 1, 2 or 5 with zeroes.
func stepBelow(x float64) float64 {
	decade := math.Pow(10, math.Floor(math.Log10(x)))
	for _, digit := range []float64{5, 2, 1} {
		if step := digit * decade; step < x {
			return step
		}
	}
	return decade / 2
}
