package push

import (
	"crypto/sha256"
	"time"

	"barid/smtp"
)

// digest stands for a token where the token itself is not needed.
type digest [16]byte

func digestOf(token string) (d digest) {
	sum := sha256.Sum256([]byte(token))
	copy(d[:], sum[:])
	return d
}

// key names what waits: there is one item for a token of an account, however
// many messages came.
type key struct {
	account smtp.Address // folded, without tag
	token   digest
}

// item is one wake-up that waits or is on its way. Times are milliseconds
// since 1970, which is what the file has.
type item struct {
	key
	queued   int64 // when the newest message came
	due      int64 // not before
	again    int64 // when a message came while it was on its way; zero for none
	attempts uint8 // that failed
	flying   bool
	slow     bool // flying for longer than patience
	down     bool // failed as the gateway was down
	saved    bool // the file has a line of it
	dirty    bool // is in queue.dirty
	gone     bool // no longer in the queue
	order    uint64
	place    int   // in its heap; -1 for none
	older    *item // by queued
	newer    *item
}

// A try that failed is repeated after 8, 64, 512 and 4096 s. A fifth refusal
// ends it; when it is the gateway that is down it is repeated every 4096 s, and
// as soon as the gateway answers others. The deadline ends it in any case.
const (
	maxAttempts = 5
	deadline    = 5 * time.Hour
	// apart is the least time between two requests with one token.
	apart = time.Second
	// patience is how long a request keeps its slot from others: that it takes
	// longer may be for its own token's sake. It is less than apart.
	patience = 250 * time.Millisecond
)

// pause gives the time after one more failure of an item that had so many; up
// to a tenth of it more by chance, which is in 0 to 1.
func pause(had uint8, chance float64) time.Duration {
	d := time.Second << (3 * min(had+1, maxAttempts-1))
	return d + time.Duration(float64(d)*chance/10)
}

// heap has items by due time, then by the order in which they came. It
// implements container/heap's Interface.
type heap []*item

func (h heap) Len() int { return len(h) }
func (h heap) Less(i, j int) bool {
	if h[i].due != h[j].due {
		return h[i].due < h[j].due
	}
	return h[i].order < h[j].order
}
func (h heap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}
func (h *heap) Push(x any) {
	it := x.(*item)
	it.place = len(*h)
	*h = append(*h, it)
}
func (h *heap) Pop() any {
	last := len(*h) - 1
	it := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	it.place = -1
	return it
}
