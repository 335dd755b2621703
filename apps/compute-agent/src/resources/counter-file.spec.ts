import { counterIn } from './counter-file';

it('finds a counter by its whole name', () => {
  const text = 'rss 10\nrss_huge 7\ntotal_rss 12\nshmem 3\n';
  expect(
    ['rss', 'rss_huge', 'total_rss', 'shmem', 'ss', 'huge'].map((name) => counterIn(text, name)),
  ).toEqual([10, 7, 12, 3, 0, 0]);
});
