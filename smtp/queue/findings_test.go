package queue

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"barid/storage"
)

// An operator hears of mail that gets old and of destinations that are away
// all at once, not of one that is.
func TestFindingsTellOfMailThatDoesNotLeave(t *testing.T) {
	within(t, func(t *testing.T) {
		s := newShelf()
		p := &postman{how: func(_ string, item storage.QueueItem) Attempt { return unreachable(item) }}
		q := started(t, s, p, nil)
		has := func(id string) bool {
			t.Helper()
			for _, f := range q.Findings() {
				if f.Text == "" || f.Remedy == "" {
					t.Errorf("%+v", f)
				}
				if f.ID == id {
					return true
				}
			}
			return false
		}
		put := func(i int) {
			for range 2 {
				s.put(fmt.Sprintf("away%d.test", i), "us", 5000, "a")
			}
			synctest.Wait()
		}
		put(0)
		if f := q.Findings(); len(f) != 0 {
			t.Errorf("one that is away: %+v", f)
		}
		for i := range manyBroken {
			put(1 + i)
		}
		if !has("queue.many-unreachable") || has("queue.old") {
			t.Errorf("many: %+v", q.Findings())
		}
		time.Sleep(old + time.Minute)
		if !has("queue.old") {
			t.Errorf("old: %+v", q.Findings())
		}
		if _, err := q.Hold(t.Context(), Which{All: true}); err != nil {
			t.Fatal(err)
		}
		if has("queue.old") {
			t.Error("what the operator holds is his to know")
		}
	})
}
