// Keeps edits that the server does not have yet in the browser's database, so that a reload loses nothing.
const NAME = 'studio', STORE = 'unsaved';

function database() {
  return new Promise((resolve, reject) => {
    const asked = indexedDB.open(NAME, 2);
    asked.onupgradeneeded = () => {
      for (const old of asked.result.objectStoreNames) asked.result.deleteObjectStore(old);
      asked.result.createObjectStore(STORE);
    };
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
}
let opened = null;

async function act(mode, action) {
  opened ??= database();
  const store = (await opened).transaction(STORE, mode).objectStore(STORE);
  return new Promise((resolve, reject) => {
    const asked = action(store);
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
}

// Without a database (private windows of some browsers) the page works, and a reload forgets what the server has not got.
export const recall = job => act('readonly', store => store.get(job)).catch(() => undefined);
export const keep = (job, value) => act('readwrite', store => store.put(value, job)).catch(() => {});
export const forget = job => act('readwrite', store => store.delete(job)).catch(() => {});
