package journal

// Idle waits until no segment is being prepared.
func (j *Journal) Idle() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.preparing {
		j.wake.Wait()
	}
}
