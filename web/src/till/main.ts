import { mount } from 'svelte';
import '../shared/base.css';
import Till from './Till.svelte';

const target = document.getElementById('page');
if (target) mount(Till, { target });
