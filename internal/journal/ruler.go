package journal

import "sort"

// rulerStep is how exact a ruler is, in octets.
const rulerStep = 64 << 10

// ruler measures the log between the mark and its end, by remembering where
// some of the records began.
type ruler struct {
	base, end int64
	ticks     []tick // ascending
}

// tick says that a record begins so many octets behind the first ever added.
type tick struct {
	seq Seq
	at  int64
}

func (r *ruler) add(s Seq, size int64) {
	if n := len(r.ticks); n == 0 || r.end-r.ticks[n-1].at >= rulerStep {
		r.ticks = append(r.ticks, tick{s, r.end})
	}
	r.end += size
}

// trim moves the mark to the end of record s.
func (r *ruler) trim(s, last Seq) {
	if s >= last {
		r.base, r.ticks = r.end, nil
		return
	}
	after := sort.Search(len(r.ticks), func(i int) bool { return r.ticks[i].seq > s+1 })
	if after > 0 {
		r.ticks = r.ticks[after-1:]
		r.base = r.ticks[0].at
	}
}

func (r *ruler) size() int64 { return r.end - r.base }
