package queue

import (
	"container/heap"
	"time"
)

// ring has the destinations that may send, in turn.
type ring struct {
	all []*destination
	pos int
}

func (r *ring) len() int { return len(r.all) }

func (r *ring) add(d *destination) {
	d.readyAt = len(r.all)
	r.all = append(r.all, d)
}

// remove takes d out; the last one takes its place.
func (r *ring) remove(d *destination) {
	last := len(r.all) - 1
	r.all[d.readyAt] = r.all[last]
	r.all[d.readyAt].readyAt = d.readyAt
	r.all[last] = nil
	r.all = r.all[:last]
	d.readyAt = -1
}

// next gives the one whose turn it is.
func (r *ring) next() *destination {
	r.pos = (r.pos + 1) % len(r.all)
	return r.all[r.pos]
}

// timer calls a function when its time has come.
type timer struct {
	at    time.Time
	do    func()
	index int
}

// timers are those of one queue, run by its own goroutine under its lock.
type timers struct{ heap timerHeap }

func (t *timers) add(at time.Time, do func()) *timer {
	x := &timer{at: at, do: do}
	heap.Push(&t.heap, x)
	return x
}

// stop takes a timer out that has not run.
func (t *timers) stop(x *timer) {
	if x.index >= 0 {
		heap.Remove(&t.heap, x.index)
	}
}

// run calls what is due, and tells how long until the next is; zero when
// there is none.
func (t *timers) run(now time.Time) time.Duration {
	for len(t.heap) > 0 {
		if wait := t.heap[0].at.Sub(now); wait > 0 {
			return wait
		}
		heap.Pop(&t.heap).(*timer).do()
	}
	return 0
}

// timerHeap implements heap.Interface.
type timerHeap []*timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}
func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = -1
	return t
}
