// Packages of build/node by their names, for scripts that live elsewhere.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const require = createRequire(`${process.env.GATEHOUSE_NODE_MODULES}/x.js`);

export const load = (name) => import(pathToFileURL(require.resolve(name)).href);
